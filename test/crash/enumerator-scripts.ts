/**
 * Scripts for the enumerator: what random walks take long to hit, such as a fault at one certain call with something certain open.
 */
import type { FsCall, FsFault } from '../../src/testing/index.ts';
import type { Explorer } from './enumerator-explorer.ts';

/** Something to do with an explorer that was not opened yet. */
export type Script = (explorer: Explorer) => void | Promise<void>;

/** Puts six entries into two shards and synchronises them. */
function fill(explorer: Explorer): void {
  explorer.open();
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) explorer.set(key);
  explorer.sync();
}

/** Lets the timers run until nothing is left but waiting. */
async function timers(explorer: Explorer, count: number): Promise<void> {
  for (let left = count; left > 0; left--) await explorer.timer();
}

function once(matches: (call: FsCall) => boolean, fault: FsFault, explorer: Explorer, strikes: number = 1): void {
  let left = strikes;
  explorer.armed = (call) => {
    if (!matches(call)) return undefined;
    if (--left <= 0) explorer.armed = undefined;
    return fault;
  };
}

const EIO: FsFault = { kind: 'error', code: 'EIO' };
const isLogSync = (call: FsCall): boolean => call.name === 'fdatasync' && call.path.includes('/wal-');

export const scripts: Readonly<Record<string, Script>> = {
  'turns with and without a sync point': async (explorer) => {
    fill(explorer);
    explorer.touch('a');
    explorer.delete('b');
    await explorer.endTurn();
    explorer.transaction(() => {
      explorer.set('g');
      explorer.delete('c');
      explorer.set('c');
      explorer.touch('a');
    });
    await explorer.endTurn();
    explorer.sync();
    explorer.clear();
    explorer.set('z');
    await explorer.endTurn();
    explorer.sync();
    explorer.close();
  },

  'transactions that fail between others': async (explorer) => {
    explorer.open();
    explorer.set('a');
    explorer.transaction(() => explorer.set('b'), true);
    explorer.set('c');
    explorer.transaction(() => explorer.delete('a'), true);
    await explorer.endTurn();
    explorer.transaction(() => explorer.set('d'), true);
    explorer.transaction(() => explorer.set('e'));
    explorer.sync();
    explorer.close();
  },
  'deleted and added again before a new key, folded but the log kept': async (explorer) => {
    fill(explorer);
    explorer.delete('a');
    explorer.set('a');
    explorer.set('n');
    explorer.sync();
    await timers(explorer, 3);
    explorer.delete('d');
    explorer.set('d');
    await explorer.endTurn();
    await timers(explorer, 8);
    explorer.kill();
    explorer.close();
  },

  'a fold with changes and a revert between its slices': async (explorer) => {
    fill(explorer);
    explorer.set('g');
    explorer.sync();
    for (let round = 0; round < 8; round++) {
      explorer.touch('b');
      explorer.delete('e');
      explorer.set('e');
      await explorer.timer();
      if (round % 3 === 1) explorer.revert();
    }
    explorer.sync();
    await timers(explorer, 6);
    explorer.revert();
    explorer.close();
  },

  'a key deleted and added again before a new one, in one shard, folded but the log kept': async (explorer) => {
    explorer.open();
    explorer.set('a');
    explorer.set('b');
    explorer.sync();
    explorer.delete('a');
    explorer.set('a');
    explorer.set('n');
    for (let count = 0; count < 4; count++) explorer.touch('b');
    explorer.sync();
    await timers(explorer, 1);
    explorer.kill();
    explorer.close();
  },

  'a listed shard installed, then changed, then reverted': async (explorer) => {
    fill(explorer);
    explorer.close();
    for (let count = 0; count < 8; count++) {
      explorer.touch('a');
      explorer.set('e');
      explorer.sync();
    }
    // The first timer is the one of the pod that was closed.
    await timers(explorer, 2);
    explorer.touch('a');
    explorer.set('x');
    await explorer.endTurn();
    explorer.revert();
    explorer.kill();
    explorer.sync();
    explorer.powerCut();
  },

  'installed, then changed, then reverted': async (explorer) => {
    fill(explorer);
    await timers(explorer, 2);
    explorer.touch('a');
    explorer.set('x');
    await explorer.endTurn();
    explorer.revert();
    explorer.touch('d');
    await explorer.endTurn();
    explorer.sync();
    await timers(explorer, 6);
    explorer.kill();
  },

  'reverted after turns, then something else': async (explorer) => {
    fill(explorer);
    for (const key of ['p', 'q', 'r']) {
      explorer.set(key);
      await explorer.endTurn();
    }
    explorer.revert();
    explorer.touch('a');
    await explorer.endTurn();
    explorer.set('p');
    await explorer.endTurn();
    explorer.kill();
    explorer.sync();
    explorer.powerCut();
  },

  'an emptied shard': async (explorer) => {
    fill(explorer);
    explorer.close();
    for (const key of ['d', 'e', 'f']) explorer.delete(key);
    explorer.sync();
    await timers(explorer, 7);
    explorer.set('h');
    explorer.set('i');
    explorer.kill();
    explorer.clear();
    explorer.close();
    explorer.set('a');
    explorer.close();
  },

  'compacted with shards of equal size': async (explorer) => {
    explorer.open();
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) explorer.set(key);
    explorer.close();
    explorer.delete('a');
    explorer.compact({ fileSize: 3, gzip: false });
    explorer.set('h');
    explorer.compact({ fileSize: 2, gzip: false });
    explorer.kill();
    explorer.delete('c');
    explorer.close({ fileSize: 3, gzip: true });
    explorer.compact({ fileSize: 3, gzip: false });
    explorer.powerCut();
  },

  'killed between the renames of a compaction and their fsync': async (explorer) => {
    explorer.open();
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) explorer.set(key);
    explorer.close();
    explorer.delete('b');
    let renames = 0;
    explorer.armed = (call) => {
      if (call.name === 'rename' && call.to?.endsWith('.json') === true) renames++;
      return renames > 2 ? { kind: 'kill' } : undefined;
    };
    explorer.compact({ fileSize: 3, gzip: false });
    explorer.sync();
    explorer.powerCut();
    explorer.set('x');
    explorer.close();
  },

  'killed between the rename of a manifest and its fsync': async (explorer) => {
    fill(explorer);
    let renamed = false;
    explorer.armed = (call) => {
      if (renamed) return { kind: 'kill' };
      if (call.name === 'rename' && call.to?.endsWith('pod.json') === true) renamed = true;
      return undefined;
    };
    explorer.close();
    explorer.look();
    explorer.powerCut();
    explorer.set('x');
    explorer.close();
  },

  'an fsync that fails after a mark': async (explorer) => {
    fill(explorer);
    await timers(explorer, 6);
    explorer.touch('a');
    await explorer.endTurn();
    once(isLogSync, EIO, explorer);
    explorer.sync();
    explorer.touch('b');
    await explorer.endTurn();
    explorer.revert();
    explorer.sync();
    explorer.powerCut();
  },

  'an fsync that fails when a shard was changed last, then a fold': async (explorer) => {
    fill(explorer);
    await timers(explorer, 6);
    for (let turns = 3; turns > 0; turns--) {
      explorer.touch('a');
      await explorer.endTurn();
    }
    explorer.touch('d');
    await explorer.endTurn();
    once(isLogSync, EIO, explorer);
    explorer.sync();
    await timers(explorer, 6);
    explorer.powerCut();
  },

  'an fsync that fails while a turn is pending, then a death': async (explorer) => {
    fill(explorer);
    explorer.touch('a');
    explorer.set('n');
    await explorer.endTurn();
    explorer.delete('b');
    explorer.set('b');
    once(isLogSync, EIO, explorer);
    explorer.sync();
    explorer.kill();
    explorer.sync();
    explorer.powerCut();
    explorer.close();
  },

  'an fsync that fails and cannot be worked around, then a death': async (explorer) => {
    fill(explorer);
    explorer.touch('a');
    explorer.set('n');
    await explorer.endTurn();
    once((call) => call.name === 'fdatasync' || call.name === 'fsync', EIO, explorer, 2);
    explorer.sync();
    explorer.kill();
    explorer.set('o');
    explorer.sync();
    explorer.powerCut();
  },

  'a flush overlapped by changes, and one that fails': async (explorer) => {
    fill(explorer);
    explorer.fs.holdsBesides = true;
    explorer.touch('a');
    explorer.flush();
    explorer.delete('b');
    explorer.set('b');
    await explorer.endTurn();
    await explorer.finishFlush();
    explorer.revert();
    explorer.touch('c');
    explorer.flush();
    explorer.set('n');
    await explorer.endTurn();
    await explorer.finishFlush('EIO');
    explorer.recoverOrRestart();
    explorer.revert();
    explorer.powerCut();
  },

  'a flush that fails without having told it yet, and a sync': async (explorer) => {
    fill(explorer);
    explorer.touch('a');
    once(isLogSync, EIO, explorer);
    explorer.flush();
    explorer.sync();
    explorer.powerCut();
  },

  'a flush that is taken back': async (explorer) => {
    fill(explorer);
    explorer.fs.holdsBesides = true;
    explorer.touch('a');
    explorer.flush();
    explorer.revert();
    explorer.touch('b');
    await explorer.endTurn();
    await explorer.finishFlush();
    explorer.revert();
    explorer.sync();
    explorer.powerCut();
  },

  'an append that fails and cannot be cut off': async (explorer) => {
    fill(explorer);
    explorer.touch('a');
    await explorer.endTurn();
    explorer.set('n');
    explorer.delete('c');
    let writes = 0;
    explorer.armed = (call) => {
      if (call.name === 'write' && call.path.includes('/wal-')) {
        if (++writes === 1) return { kind: 'short', bytes: 30 };
        if (writes === 2) return { kind: 'error', code: 'ENOSPC' };
      }
      if (call.name !== 'truncate') return undefined;
      explorer.armed = undefined;
      return EIO;
    };
    await explorer.endTurn();
    explorer.recoverOrRestart();
    explorer.touch('a');
    explorer.sync();
    explorer.revert();
    explorer.powerCut();
  },

  'a signal, and a death before the next sync point': async (explorer) => {
    fill(explorer);
    explorer.touch('a');
    explorer.exit();
    explorer.touch('b');
    await explorer.endTurn();
    explorer.kill();
    explorer.exit();
    explorer.powerCut();
  },
};

const isOutputSync = (call: FsCall): boolean => call.name === 'fsync' && call.path.endsWith('/lines.jsonl');
const isOutputWrite = (call: FsCall): boolean => call.name === 'write' && call.path.endsWith('/lines.jsonl');

/** Scripts for explorers with an output. */
export const outputScripts: Readonly<Record<string, Script>> = {
  'lines of turns, a fold, a close': async (explorer) => {
    fill(explorer);
    explorer.close();
    for (let round = 0; round < 4; round++) {
      explorer.set('a');
      explorer.set(`n${round}`);
      await explorer.endTurn();
      await timers(explorer, 2);
    }
    explorer.sync();
    await timers(explorer, 8);
    explorer.set('b');
    explorer.kill();
    explorer.set('c');
    explorer.sync();
    explorer.close();
  },

  'lines that a revert and a transaction take back': async (explorer) => {
    fill(explorer);
    for (let round = 0; round < 3; round++) {
      explorer.set('a');
      explorer.set('b');
      await explorer.endTurn();
      explorer.set('c');
      explorer.revert();
      explorer.transaction(() => {
        explorer.set('d');
        explorer.set('e');
      }, true);
      explorer.set('f');
      explorer.sync();
    }
    explorer.close();
  },

  'a flush with lines behind it': async (explorer) => {
    fill(explorer);
    explorer.set('a');
    explorer.set('b');
    explorer.fs.holdsBesides = true;
    explorer.flush();
    explorer.set('c');
    explorer.set('d');
    await explorer.endTurn();
    await explorer.finishFlush();
    explorer.revert();
    explorer.set('c');
    explorer.sync();
    explorer.close();
  },

  'an output whose fsync fails, then a death': async (explorer) => {
    fill(explorer);
    for (const key of ['a', 'b', 'c', 'd']) explorer.set(key);
    once(isOutputSync, EIO, explorer);
    explorer.close();
    // The fold left everything in the log, and the next life must not trust the pages that look clean.
    if (explorer.engine !== undefined) explorer.kill();
    explorer.close();
    explorer.set('e');
    explorer.close();
  },

  'an output whose fsync fails, then another attempt': async (explorer) => {
    fill(explorer);
    for (const key of ['a', 'b', 'c', 'd']) explorer.set(key);
    explorer.sync();
    once(isOutputSync, EIO, explorer);
    explorer.compact({ fileSize: 3, gzip: false });
    explorer.armed = undefined;
    explorer.compact({ fileSize: 3, gzip: false });
    explorer.set('e');
    explorer.sync();
    explorer.close();
  },

  'an output that cannot be written, and is written later': async (explorer) => {
    fill(explorer);
    for (const key of ['a', 'b', 'c', 'd']) explorer.set(key);
    once(isOutputWrite, { kind: 'short', bytes: 7 }, explorer, 1);
    explorer.sync();
    once(isOutputWrite, { kind: 'error', code: 'ENOSPC' }, explorer, 2);
    explorer.set('e');
    explorer.sync();
    explorer.armed = undefined;
    explorer.set('f');
    explorer.sync();
    explorer.close();
  },

  'a log that is left behind with lines in it': async (explorer) => {
    fill(explorer);
    explorer.set('a');
    explorer.set('b');
    await explorer.endTurn();
    explorer.set('c');
    once(isLogSync, EIO, explorer);
    explorer.sync();
    explorer.set('d');
    await explorer.endTurn();
    explorer.kill();
    explorer.close();
  },
};
