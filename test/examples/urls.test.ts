import { describe, expect, it } from 'vitest';
import { isSameOrigin, normaliseUrl } from '../../examples/crawl/urls.ts';
import fc from '../fast-check.ts';

const BASE = 'http://example.test/docs/guide/page.html?x=1';

describe('normaliseUrl', () => {
  it.each([
    ['HTTP://EXAMPLE.Test/Docs', 'http://example.test/Docs'],
    ['http://example.test', 'http://example.test/'],
    ['http://example.test:80/a', 'http://example.test/a'],
    ['https://example.test:443/a', 'https://example.test/a'],
    ['http://example.test:443/a', 'http://example.test:443/a'],
    ['//example.test/a', 'http://example.test/a'],
    ['other.html', 'http://example.test/docs/guide/other.html'],
    ['../other.html', 'http://example.test/docs/other.html'],
    ['../../../../other.html', 'http://example.test/other.html'],
    ['./a/../b/./c.html', 'http://example.test/docs/guide/b/c.html'],
    ['/a/%2e%2E/b', 'http://example.test/b'],
    ['#part', 'http://example.test/docs/guide/page.html?x=1'],
    ['other.html#part', 'http://example.test/docs/guide/other.html'],
    ['', 'http://example.test/docs/guide/page.html?x=1'],
    ['  /spaces\n.html\t', 'http://example.test/spaces.html'],
    ['/a?', 'http://example.test/a'],
    ['/a?#', 'http://example.test/a'],
    ['/a?b=2&a=1', 'http://example.test/a?b=2&a=1'],
    ['/a?&b=2&&a=1&', 'http://example.test/a?b=2&a=1'],
    ['/a?b=&c', 'http://example.test/a?b=&c'],
    ['/caf%c3%a9', 'http://example.test/caf%C3%A9'],
    ['/café', 'http://example.test/caf%C3%A9'],
    ['/%7euser/%61', 'http://example.test/~user/a'],
    ['/a%2fb?c=%2f%26', 'http://example.test/a%2Fb?c=%2F%26'],
    ['/100%', 'http://example.test/100%'],
    ['/%%37E', 'http://example.test/%%37E'],
    ['http://user:secret@example.test/a', 'http://example.test/a'],
    ['http://ПРИМЕР.test/', 'http://xn--e1afmkfd.test/'],
    ['back\\slash', 'http://example.test/docs/guide/back/slash'],
  ])('%j becomes %s', (href, expected) => {
    expect(normaliseUrl(href, BASE)).toBe(expected);
  });

  it.each(['/docs/', '/docs', '/docs/index.html', '/Docs/', '/docs/?', '/docs/?a', '/docs/?a='])(
    'keeps apart what a server may tell apart: %s',
    (path) => {
      const others = ['/docs/', '/docs', '/docs/index.html', '/Docs/', '/docs/?a', '/docs/?a='].filter(
        (p) => p !== path,
      );
      const url = normaliseUrl(path, BASE);
      const same = others.filter((other) => normaliseUrl(other, BASE) === url);
      expect(same).toEqual(path === '/docs/?' ? ['/docs/'] : []);
    },
  );

  it.each([
    'mailto:a@example.test',
    'javascript:void(0)',
    'tel:+1',
    'data:text/html,x',
    'ftp://example.test/',
    'http://[',
  ])('is undefined for %s', (href) => {
    expect(normaliseUrl(href, BASE)).toBeUndefined();
  });

  it('is undefined for a relative address without a base', () => {
    expect(normaliseUrl('a.html')).toBeUndefined();
  });

  it('gives a key that stays as it is when normalised again', () => {
    const piece = fc.constantFrom(
      '%',
      '%7',
      '%7e',
      '%C3',
      '3',
      'E',
      'é',
      '/',
      '..',
      '.',
      '?',
      '&',
      '=',
      '#',
      ' ',
      ';',
      '"',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 12 }), (pieces) => {
        const url = normaliseUrl(pieces.join(''), BASE);
        fc.pre(url !== undefined);
        expect(normaliseUrl(url)).toBe(url);
        expect(url).not.toContain('#');
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('isSameOrigin', () => {
  it.each([
    ['http://a.test/x', 'http://a.test/y', true],
    ['http://a.test/', 'https://a.test/', false],
    ['http://a.test/', 'http://b.a.test/', false],
    ['http://a.test/', 'http://a.test:8080/', false],
    ['http://a.test/', 'http://a.test.evil.test/', false],
  ])('%s and %s: %s', (url, other, expected) => {
    expect(isSameOrigin(url, other)).toBe(expected);
  });
});
