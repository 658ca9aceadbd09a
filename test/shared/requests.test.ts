// What the next owner finds of what the last one answered: exactly that whose changes it finds, too.
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootMark } from '../../src/disk/boot.ts';
import { POD } from '../../src/index.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import { engineOf } from '../../src/pod/pod.ts';
import type { Fact } from '../../src/shared/memory.ts';
import { Group, Requests } from '../../src/shared/requests.ts';
import { MemoryFileSystem, testSystem } from '../../src/testing/index.ts';
import { useHandles } from './handles.ts';

const LINE_FEED = 0x0a;

const handles = useHandles();
const kept: { close(): void }[] = [];

let path: string;
let pod: POD<number>;
let engine: PodEngine<number, string>;
let requests: Requests;

afterEach(() => {
  for (const each of kept.splice(0)) each.close();
});

function keep<P extends { close(): void }>(opened: P): P {
  kept.push(opened);
  return opened;
}

beforeEach(() => {
  path = handles.path();
  open();
});

/** Becomes the owner. */
function open(options: { gzipped?: boolean } = {}): void {
  pod = keep(POD.open<number>(path, { syncEvery: 0, ...options }));
  engine = engineOf(pod);
  requests = new Requests(engine.notes);
}

/** Carries a question out that sets `n` to its number. */
function carryOut(number: number, ...more: Fact[]): void {
  carryOutBy(requests, engine, number, ...more);
}

function carryOutBy(owner: Requests, of: PodEngine<number, string>, number: number, ...more: Fact[]): void {
  const group = new Group(owner.memory);
  of.transaction(() => {
    of.table.set('n', number);
    group.note(['join', 'me', process.pid]);
    group.note(['answer', 'me', number, `[${number},0]`]);
    for (const fact of more) group.note(fact);
    owner.keep(group);
  });
  of.appendNow();
}

/** What is there where its process dies now. */
function copyOf(folder: string): string {
  const copy = handles.path();
  cpSync(folder, copy, { recursive: true, filter: (name) => !name.includes('/lock') });
  return copy;
}

interface Found {
  n: number | undefined;
  answers: number[];
  claims: string[];
}

/** What the next owner finds where the process dies now. */
function found(): Found {
  const folder = copyOf(path);
  const next = POD.open<number>(folder, { syncEvery: 0 });
  try {
    const { memory } = new Requests(engineOf(next).notes);
    return {
      n: next.get('n'),
      answers: [...(memory.clients.get('me')?.answers.keys() ?? [])],
      claims: [...memory.claims.keys()],
    };
  } finally {
    next.close();
  }
}

function lastSegment(folder: string): string {
  const names = readdirSync(folder).filter((name) => name.startsWith('wal-'));
  return join(folder, names.sort().at(-1) as string);
}

describe('what an owner answered', () => {
  it('K2: is known where its changes are, and not where they are not, wherever the log ends', () => {
    const system = testSystem();
    const first = new PodEngine<number, string>(system, '/pod', { syncEvery: 0 }, {});
    const owner = new Requests(first.notes);
    for (const number of [1, 2, 3]) carryOutBy(owner, first, number);
    const image = system.fs.image();
    const [log, bytes] = [...image].find(([path]) => path.includes('/wal-')) as [string, Uint8Array];
    const outcomes = new Set<unknown>();
    for (let length = bytes.indexOf(LINE_FEED) + 1; length <= bytes.length; length++) {
      const fs = MemoryFileSystem.fromImage(new Map([...image, [log, bytes.slice(0, length)]]));
      const next = new PodEngine<number, string>(testSystem({ fs }), '/pod', { syncEvery: 0 }, {});
      const n = next.table.find('n')?.value ?? 0;
      const { clients } = new Requests(next.notes).memory;
      expect([...(clients.get('me')?.answers.keys() ?? [])]).toEqual([1, 2, 3].slice(0, n));
      outcomes.add(n);
      next.close();
    }
    expect(outcomes).toEqual(new Set([0, 1, 2, 3]));
  });

  it('is known after the log was folded, written anew, and gone back in', async () => {
    carryOut(1);
    pod.compact();
    expect(found()).toEqual({ n: 1, answers: [1], claims: [] });
    carryOut(2);
    pod.sync();
    carryOut(3);
    pod.revert();
    // As the owner does: what was cut off is said again, because it was told.
    engine.appendNow();
    expect(found()).toEqual({ n: 2, answers: [1, 2, 3], claims: [] });
    pod.close();
    expect(found()).toEqual({ n: 2, answers: [1, 2, 3], claims: [] });
  });

  it('is known to the next owner and to the one after that, also where one opens it in another layout', () => {
    carryOut(1, ['claim', 'token', 'me', 'key']);
    pod.close();
    open({ gzipped: true });
    expect([...(requests.memory.clients.get('me')?.answers.keys() ?? [])]).toEqual([1]);
    const then = { n: 1, answers: [1], claims: ['token'] };
    expect(found()).toEqual(then);
    carryOut(2, ['end', 'token']);
    expect(found()).toEqual({ n: 2, answers: [1, 2], claims: [] });
  });

  it('is known where somebody changed the pod meanwhile who does not share', async () => {
    carryOut(1);
    const folder = copyOf(path);
    const other = POD.open<number>(folder, { syncEvery: 0 });
    await Promise.resolve();
    other.set('n', 9);
    other.sync();
    const again = copyOf(folder);
    other.close();
    const next = keep(POD.open<number>(again));
    expect(next.get('n')).toBe(9);
    expect(new Requests(engineOf(next).notes).memory.clients.get('me')?.answers.size).toBe(1);
  });

  it('is nobody’s affair once the log was folded by somebody who does not share', async () => {
    carryOut(1);
    pod.close();
    const plain = POD.open<number>(path);
    await Promise.resolve();
    plain.set('n', 2);
    plain.close();
    open();
    expect(requests.memory.clients.size).toBe(0);
    expect(readFileSync(lastSegment(path), 'utf8')).not.toContain('note');
  });

  it('is not kept of a transaction that failed', () => {
    carryOut(1);
    const group = new Group(requests.memory);
    expect(() =>
      pod.transaction(() => {
        pod.set('n', 2);
        group.note(['answer', 'me', 2, '[2,0]']);
        requests.keep(group);
        throw new RangeError('no');
      }),
    ).toThrow('no');
    group.undo();
    carryOut(3);
    expect(found()).toEqual({ n: 3, answers: [1, 3], claims: [] });
  });

  it('is forgotten where nobody is left who could ask again', () => {
    carryOut(1);
    requests.close(true);
    pod.close();
    expect(found()).toEqual({ n: 1, answers: [], claims: [] });
  });

  it('is not kept where the level promises nothing', () => {
    requests = new Requests(undefined);
    engine.notes.keep(undefined);
    carryOut(1);
    expect(found()).toEqual({ n: 1, answers: [], claims: [] });
  });

  it('counts for nobody after another start of the machine', () => {
    const facts = [['join', 'me', 1]];
    for (const [boot, clients] of [
      [bootMark(), 1],
      ['another start', 0],
    ] as const) {
      engine.notes.keep(() => JSON.stringify({ boot, facts }));
      engine.notes.renew();
      engine.appendNow();
      pod.close();
      open();
      expect(requests.memory.clients.size).toBe(clients);
    }
  });

  it('counts for nobody where it is not what an owner writes', () => {
    const notes = ['null', '[]', '{"boot":1}', `{"boot":${JSON.stringify(bootMark())},"facts":[["join","me",1,2]]}`];
    for (const note of [...notes, `{"boot":${JSON.stringify(bootMark())},"facts":[["claim","t","me",[{}]]]}`]) {
      engine.notes.keep(() => note);
      engine.notes.renew();
      engine.appendNow();
      pod.close();
      open();
      expect(requests.memory.clients.size + requests.memory.claims.size).toBe(0);
    }
  });

  it('forgets what was acknowledged, and takes back what a group did that failed', () => {
    carryOut(1, ['claim', 'token-1', 'me', 'key-1']);
    carryOut(2);
    const { memory } = requests;
    memory.acknowledge('me', 1);
    expect([...(memory.clients.get('me')?.answers.keys() ?? [])]).toEqual([2]);
    const group = new Group(memory);
    const sorted = (): string[] => [...memory.facts()].map((fact) => JSON.stringify(fact)).sort();
    const before = sorted();
    for (const fact of [
      ['end', 'token-1'],
      ['claim', 'token-3', 'you', 'key-1'],
      ['lock', 'you'],
      ['gone', 'me'],
    ] as const) {
      group.note(fact);
    }
    expect(sorted()).not.toEqual(before);
    group.undo();
    expect(sorted()).toEqual(before);
    expect(memory.claimOf('key-1')?.token).toBe('token-1');
  });

  it('is said anew when it has grown, so that the next owner need not read what was acknowledged', () => {
    for (let number = 1; number <= 4000; number++) {
      carryOut(number, ['answer', 'me', number, `[${number},0,"${'x'.repeat(400)}"]`]);
      requests.memory.acknowledge('me', number - 1);
    }
    const { answers } = found();
    expect(answers.at(-1)).toBe(4000);
    expect(answers.length).toBeLessThan(2500);
  });
});

it('a pod that keeps notes folds its log as one that keeps none', async () => {
  const text = 'x'.repeat(1000);
  const big = keep(POD.open<string>(handles.path(), { syncEvery: 0 }));
  const { notes } = engineOf(big);
  // More than the log may hold: taking it along must not make the next fold due.
  notes.keep(() => JSON.stringify('y'.repeat(6 << 20)));
  notes.renew();
  for (let key = 0; key < 6000; key++) big.set(`${key}`, text);
  big.sync();
  const folds = async (): Promise<number> => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    return Number(/wal-(\d+)/.exec(lastSegment(big.path))?.[1]);
  };
  let before = 0;
  for (let now = await folds(); now !== before; now = await folds()) {
    before = now;
    expect(now).toBeLessThan(5);
  }
  expect(before).toBeGreaterThan(1);
  expect(big.get('1')).toBe(text);
});
