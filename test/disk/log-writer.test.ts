import { describe, expect, it } from 'vitest';
import { scanSegment } from '../../src/disk/log-reader.ts';
import { LogWriter } from '../../src/disk/log-writer.ts';
import { type FsCall, type MemoryFileSystem, seededRandom } from '../../src/testing/index.ts';
import { diskWith, PATH, textOf, thrown } from './support.ts';

const NAME = 'wal-000001.jsonl';

function create(fs: MemoryFileSystem): LogWriter {
  return LogWriter.create(fs, PATH, { wal: 1, id: '3f1c9a52', gen: 0, base: 0, prev: '00000000' });
}

function set(log: LogWriter, key: string, value: string): void {
  log.add(`"o":"set","n":0,"k":"${key}","v":${value}`);
}

/** What a reader finds: the numbers of the records, and where the batches end. */
function scan(fs: MemoryFileSystem) {
  const found = scanSegment(fs, PATH, 1);
  return { records: found?.records.map(({ s }) => s), end: found?.end, tail: found?.tail.kind };
}

describe('a batch', () => {
  it('is written with its closing line, in one call', () => {
    const fs = diskWith({});
    const log = create(fs);
    let writes = 0;
    fs.intercept = ({ name }) => {
      if (name === 'write') writes++;
      return undefined;
    };
    set(log, 'a', '1');
    log.add('"o":"del","n":0,"k":"ü"');
    expect(log.s).toBe(2);
    log.close('commit', 2, 0);
    expect(writes).toBe(1);
    const lines = textOf(fs, NAME)
      ?.trimEnd()
      .split('\n')
      .map((line) => line.slice(9));
    expect(lines?.slice(1)).toEqual([
      '{"s":1,"o":"set","n":0,"k":"a","v":1}',
      '{"s":2,"o":"del","n":0,"k":"ü"}',
      '{"s":3,"o":"commit","c":2,"y":0}',
    ]);
    expect(scan(fs)).toEqual({ records: [1, 2], end: log.end, tail: 'clean' });
  });

  it('may be larger than any buffer', () => {
    const fs = diskWith({});
    const log = create(fs);
    const random = seededRandom(3);
    const values = Array.from({ length: 40 }, () =>
      JSON.stringify('ä€x'.charAt(random.below(3)).repeat(random.below(90_000))),
    );
    for (const value of values) set(log, 'k', value);
    set(log, 'huge', JSON.stringify('😀'.repeat(600_000)));
    set(log, 'after', '1');
    log.close('sync', 42, 0);
    set(log, 'next', '2');
    log.close('sync', 1, 43);
    expect(scan(fs)).toEqual({
      records: [...Array(42).keys()].map((n) => n + 1).concat(44),
      end: log.end,
      tail: 'clean',
    });
    expect(fs.stat(`${PATH}/${NAME}`)?.size).toBe(log.end.offset);
  });

  it('that is given up leaves no trace', () => {
    const fs = diskWith({});
    const log = create(fs);
    const before = textOf(fs, NAME);
    set(log, 'a', '1');
    log.abandon();
    set(log, 'a', JSON.stringify('x'.repeat(1_500_000))); // Longer than the buffer, so its first part is on the disk already.
    set(log, 'b', JSON.stringify('x'.repeat(1_500_000)));
    log.abandon();
    expect(textOf(fs, NAME)).toBe(before);
    set(log, 'c', '3');
    log.close('commit', 1, 0);
    expect(scan(fs).records).toEqual([1]);
  });

  it('that cannot be written is cut off, and the next one can be', () => {
    const fs = diskWith({});
    const log = create(fs);
    const before = textOf(fs, NAME);
    let writes = 0;
    fs.intercept = ({ name }) => {
      if (name !== 'write') return undefined;
      return ++writes === 1 ? { kind: 'short', bytes: 20 } : { kind: 'error', code: 'ENOSPC' };
    };
    set(log, 'a', '1');
    const error = thrown(() => log.close('commit', 1, 0));
    expect(error.code).toBe('ERR_POD_DISK');
    expect(error.message).toContain('free some space');
    expect(log.broken).toBe(false);
    expect(textOf(fs, NAME)).toBe(before);
    fs.intercept = undefined;
    set(log, 'a', '1');
    log.close('commit', 1, 0);
    expect(scan(fs)).toEqual({ records: [1], end: log.end, tail: 'clean' });
  });

  it('that can neither be written nor cut off breaks the segment', () => {
    const fs = diskWith({});
    const log = create(fs);
    fs.intercept = ({ name }) => {
      if (name === 'write') return { kind: 'error', code: 'EIO' };
      return name === 'truncate' ? { kind: 'error', code: 'EIO' } : undefined;
    };
    set(log, 'a', '1');
    thrown(() => log.close('commit', 1, 0));
    expect(log.broken).toBe(true);
    fs.intercept = undefined;
    expect(thrown(() => log.fdatasync()).code).toBe('ERR_POD_DISK');
    expect(thrown(() => log.fsync()).code).toBe('ERR_POD_DISK');
  });

  it('of which nothing can be written is an error, not an endless loop', () => {
    const fs = diskWith({});
    const log = create(fs);
    fs.intercept = ({ name }) => (name === 'write' ? { kind: 'short', bytes: 0 } : undefined);
    set(log, 'a', '1');
    expect(thrown(() => log.close('commit', 1, 0)).info).toEqual({ systemCode: 'ENOSPC' });
  });
});

describe('an fsync that failed', () => {
  it('D25: is never tried again on that descriptor', async () => {
    for (const name of ['fdatasync', 'fsync', 'fdatasyncBeside'] as const) {
      const fs = diskWith({});
      const log = create(fs);
      let fsyncs = 0;
      fs.intercept = (call) => {
        if (call.name !== 'fdatasync' && call.name !== 'fsync') return undefined;
        fsyncs++;
        return { kind: 'error', code: 'EIO' };
      };
      await expect(async () => log[name]()).rejects.toMatchObject({ code: 'ERR_POD_DISK' });
      expect(log.broken).toBe(true);
      await expect(async () => log[name]()).rejects.toMatchObject({ code: 'ERR_POD_DISK' });
      expect(fsyncs).toBe(1);
    }
  });

  it('beside the program is told to the program too', async () => {
    const fs = diskWith({});
    const log = create(fs);
    fs.holdsBesides = true;
    const beside = log.fdatasyncBeside();
    for (const one of fs.besides) one.fail('EIO');
    // The promise has not been looked at yet: our own fsync must not say that all is well.
    expect(thrown(() => log.fdatasync()).code).toBe('ERR_POD_DISK');
    await expect(beside).rejects.toMatchObject({ code: 'ERR_POD_DISK' });
  });
});

describe('descriptors', () => {
  it('are given back when the last fsync has ended', async () => {
    const fs = diskWith({});
    const log = create(fs);
    fs.holdsBesides = true;
    const beside = log.fdatasyncBeside();
    log.retire();
    expect(fs.openPaths).toHaveLength(2);
    for (const one of fs.besides) one.finish();
    await beside;
    expect(fs.openPaths).toEqual([]);
    log.retire();
    expect(fs.openPaths).toEqual([]);
  });

  it('are given back where close fails', () => {
    const fs = diskWith({});
    const log = create(fs);
    fs.intercept = ({ name }) => (name === 'close' ? { kind: 'error', code: 'EIO' } : undefined);
    log.retire();
    expect(fs.openPaths).toEqual([]);
  });

  it('that cannot be had for an fsync beside the program break nothing', async () => {
    const fs = diskWith({});
    const log = create(fs);
    fs.intercept = ({ name }) => (name === 'open' ? { kind: 'error', code: 'EMFILE' } : undefined);
    await expect(log.fdatasyncBeside()).rejects.toMatchObject({ code: 'ERR_POD_DISK' });
    expect(log.broken).toBe(false);
    fs.intercept = undefined;
    await log.fdatasyncBeside();
  });
});

describe('creating a segment', () => {
  const faults: [string, (call: FsCall) => boolean][] = [
    ['opened', ({ name }) => name === 'open'],
    ['written', ({ name }) => name === 'write'],
  ];
  it.each(faults)('leaves nothing where it cannot be %s', (_, hits) => {
    const fs = diskWith({});
    fs.intercept = (call) => (hits(call) ? { kind: 'error', code: 'EMFILE' } : undefined);
    expect(thrown(() => create(fs)).code).toBe('ERR_POD_DISK');
    fs.intercept = undefined;
    expect(fs.readdir(PATH)).toEqual([]);
    expect(fs.openPaths).toEqual([]);
  });

  it('replaces what an attempt left that failed while the disk did', () => {
    const fs = diskWith({ [NAME]: 'half a hea' });
    const log = create(fs);
    expect(log.end.s).toBe(0);
    expect(scan(fs).tail).toBe('clean');
  });

  it('fails where that cannot be removed', () => {
    const fs = diskWith({ [NAME]: 'half a hea' });
    fs.intercept = ({ name }) => (name === 'unlink' ? { kind: 'error', code: 'EROFS' } : undefined);
    expect(thrown(() => create(fs)).info).toEqual({ systemCode: 'EROFS' });
  });
});

describe('going back', () => {
  it('takes lines back, and the numbers with them', () => {
    const fs = diskWith({});
    const log = create(fs);
    set(log, 'a', '1');
    log.close('sync', 1, 0);
    const point = log.end;
    set(log, 'b', '2');
    log.close('commit', 1, 2);
    log.truncate(point);
    expect(log.end).toEqual(point);
    set(log, 'c', '3');
    log.close('commit', 1, 2);
    expect(scan(fs)).toEqual({ records: [1, 3], end: log.end, tail: 'clean' });
  });

  it('that fails changes nothing', () => {
    const fs = diskWith({});
    const log = create(fs);
    const start = log.end;
    set(log, 'b', '2');
    log.close('commit', 1, 0);
    const { end } = log;
    fs.intercept = ({ name }) => (name === 'truncate' ? { kind: 'error', code: 'EIO' } : undefined);
    expect(thrown(() => log.truncate(start)).code).toBe('ERR_POD_DISK');
    expect(log.end).toEqual(end);
  });
});
