// The deepest value there may be, and one level more, by every road into a pod and out of its files.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DEPTH_MAX, isTooDeep } from '../../src/core/json.ts';
import { acceptEdits, repairFolder, verifyFolder } from '../../src/disk/repair.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD } from '../../src/index.ts';
import { EMPTY_POD, logText, makeFolder, manifestText, temporaryPaths, thrownBy } from './forge.ts';

const newPath = temporaryPaths();
const opened: { close(): void }[] = [];
afterEach(() => {
  for (const open of opened.splice(0)) open.close();
});

function open(folder: string): POD<unknown> {
  const pod = POD.open<unknown>(folder);
  opened.push(pod);
  return pod;
}

/** Arrays and objects in turn, `levels` deep. */
function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = levels; level > 0; level--) value = level % 2 === 0 ? { in: value } : [value];
  return levels === 0 ? 1 : value;
}

function depthOf(value: unknown): number {
  let depth = 0;
  for (let at = value; typeof at === 'object' && at !== null; at = Object.values(at)[0]) depth++;
  return depth;
}

describe('a value of the greatest depth', () => {
  it('goes in, comes out, and survives a reopen, from the log and from a shard', () => {
    const folder = newPath();
    const first = open(folder);
    first.set('deep', nested(DEPTH_MAX));
    first.sync();
    const reader = POD.open<unknown>(folder, { isolated: true });
    expect(depthOf(reader.snapshot('deep'))).toBe(DEPTH_MAX);
    reader.close();
    first.close();
    const second = open(folder);
    expect(second.snapshot('deep')).toEqual(nested(DEPTH_MAX));
    expect(verifyFolder(nodeSystem, folder)).toBe(1);
  });

  it('can be built from inside, down to the last level and not one further', () => {
    const pod = open(newPath());
    pod.set('deep', []);
    let at = pod.get('deep') as unknown[];
    for (let level = 1; level < DEPTH_MAX; level++) {
      at.push([]);
      at = at[0] as unknown[];
    }
    at.push('the bottom');
    const before = JSON.stringify(pod.snapshot('deep'));
    for (const deeper of [[], {}, [[]], nested(DEPTH_MAX)]) {
      expect(thrownBy(() => at.push(deeper)).code).toBe('ERR_POD_VALUE');
      expect(
        thrownBy(() => {
          at[0] = deeper;
        }).code,
      ).toBe('ERR_POD_VALUE');
    }
    expect(JSON.stringify(pod.snapshot('deep'))).toBe(before);
    expect(depthOf(pod.snapshot('deep'))).toBe(DEPTH_MAX);
  });
});

describe('one level more', () => {
  it.each([DEPTH_MAX + 1, 5_000, 100_000])(
    '%i levels are refused by every way of setting, and nothing is changed',
    (levels) => {
      const pod = open(newPath());
      pod.set('kept', { is: [1] });
      const value = nested(levels);
      const view = pod.get('kept') as { is: unknown };
      const roads: (() => unknown)[] = [
        () => pod.set('deep', value),
        () => pod.update([['deep', value]]),
        () => pod.getOrInsert('deep', value),
        () => pod.transaction(() => pod.set('deep', value)),
        () => {
          view.is = value;
        },
        () => Object.assign(view, { more: value }),
        () => Object.defineProperty(view, 'more', { value, writable: true, enumerable: true, configurable: true }),
      ];
      for (const road of roads) expect(thrownBy(road).code).toBe('ERR_POD_VALUE');
      expect([...pod.keys()]).toEqual(['kept']);
      expect(pod.snapshot('kept')).toEqual({ is: [1] });
      expect(thrownBy(() => POD.open(newPath(), { init: { deep: value } })).code).toBe('ERR_POD_VALUE');
    },
  );

  it('in a key is refused too', () => {
    const pod = POD.open<number, never>(newPath());
    opened.push(pod);
    let key: unknown = 'a';
    for (let level = 0; level <= DEPTH_MAX; level++) key = [key];
    expect(thrownBy(() => pod.set(key as never, 1)).code).toBe('ERR_POD_KEY');
    const allowed = (key as unknown[])[0] as never;
    pod.set(allowed, 1);
    pod.sync();
    expect(pod.get(allowed)).toBe(1);
  });

  it.each([DEPTH_MAX + 1, 100_000])(
    '%i levels in a shard that was edited by hand are refused with the line, and repair leaves them out',
    (levels) => {
      const folder = newPath();
      open(folder).update({ a: 1, b: 2 });
      opened.pop()?.close();
      const edited = readFileSync(join(folder, '0.json'), 'utf8').replace(
        '"b"\t2',
        `"b"\t${'['.repeat(levels)}${']'.repeat(levels)}`,
      );
      writeFileSync(join(folder, '0.json'), edited);
      expect(thrownBy(() => open(folder))).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '0.json', line: 2 });
      expect(thrownBy(() => acceptEdits(nodeSystem, folder))).toMatchObject({ code: 'ERR_POD_CORRUPT', line: 2 });
      expect(readFileSync(join(folder, '0.json'), 'utf8')).toBe(edited);
      expect(repairFolder(nodeSystem, folder)).toMatchObject({ entries: 1, lostLines: 1 });
      expect([...open(folder)]).toEqual([['a', 1]]);
    },
  );

  it.each([DEPTH_MAX + 1, 100_000])('%i levels in the log are refused when they are read, and by verify', (levels) => {
    const folder = makeFolder(newPath(), {
      'pod.json': manifestText(EMPTY_POD),
      'wal-000001.jsonl': logText([
        `{"s":1,"o":"set","n":0,"k":"deep","v":${'['.repeat(levels)}${']'.repeat(levels)}}`,
        '{"s":2,"o":"set","n":0,"k":"flat","v":1}',
        '{"s":3,"o":"commit","c":2,"y":0}',
      ]),
    });
    expect(thrownBy(() => verifyFolder(nodeSystem, folder)).code).toBe('ERR_POD_CORRUPT');
    const pod = open(folder);
    expect(thrownBy(() => pod.get('deep'))).toMatchObject({ code: 'ERR_POD_CORRUPT', key: 'deep' });
    expect(pod.get('flat')).toBe(1);
    pod.delete('deep');
    pod.close();
    expect(verifyFolder(nodeSystem, folder)).toBe(1);
  });
});

describe('the depth of a text', () => {
  it('is that of its brackets outside strings', () => {
    const brackets = '[{'.repeat(400);
    expect(isTooDeep(JSON.stringify([brackets, `${brackets}\\`, `"${brackets}"`, { [brackets]: brackets }]))).toBe(
      false,
    );
    expect(isTooDeep(JSON.stringify(nested(DEPTH_MAX)))).toBe(false);
    expect(isTooDeep(JSON.stringify(nested(DEPTH_MAX + 1)))).toBe(true);
    expect(isTooDeep(`["${'\\\\'.repeat(600)}",${'['.repeat(DEPTH_MAX)}`)).toBe(true);
    expect(isTooDeep(`"${'['.repeat(2000)}`)).toBe(false);
    expect(isTooDeep('[]'.repeat(2000))).toBe(false);
  });
});
