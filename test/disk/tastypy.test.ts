import { describe, expect, it } from 'vitest';
import { asciiJson, decodeTastypyKey, encodeTastypyKey } from '../../src/disk/tastypy.ts';
import { thrown } from './support.ts';

describe('keys as tastypy writes them', () => {
  it.each([
    ['a', '"a"'],
    ['q"', '"q\\\\""'],
    ['back\\slash', '"back\\\\\\\\slash"'],
    ['tab\t', '"tab\\\\t"'],
    ['ü', '"\\\\u00fc"'],
    ['😀', '"\\\\ud83d\\\\ude00"'],
    [7, '7'],
    [['a', 1], '["a",1]'],
  ])('%j is %s', (key, text) => {
    expect(encodeTastypyKey(key)).toBe(text);
    expect(decodeTastypyKey(text)).toEqual(key);
  });

  it('are read where they hold what Python leaves as it is', () => {
    expect(decodeTastypyKey('"ü"')).toBe('ü');
    expect(decodeTastypyKey('["a", 1]')).toEqual(['a', 1]);
  });

  it('with an odd number of backslashes in a row are refused', () => {
    expect(thrown(() => decodeTastypyKey('"q\\""')).code).toBe('ERR_POD_KEY');
    expect(thrown(() => decodeTastypyKey('"q\\\\\\"')).code).toBe('ERR_POD_KEY');
  });

  it('that are no JSON, or no keys, are refused', () => {
    expect(() => decodeTastypyKey('"a')).toThrow(SyntaxError);
    expect(thrown(() => decodeTastypyKey('{"a":1}')).code).toBe('ERR_POD_KEY');
  });

  it('are ASCII', () => {
    expect(asciiJson(JSON.stringify('a\u007fé\u2028'))).toBe('"a\\u007f\\u00e9\\u2028"');
  });
});
