/**
 * The lines in which the owner of a shared pod keeps what it answered: only appended, replaced whole now and then.
 *
 * It outlives the process, not the machine: whoever waits for an answer dies in a power cut, too. So it is never fsynced, and a journal of
 * another start of the machine counts for nobody.
 */
import { Buffer } from 'node:buffer';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { closeQuietly, disk, readFile, removeQuietly, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import { bootIdentity } from './lock.ts';
import { REQUESTS_NAME, temporaryName } from './names.ts';

/** Two guesses at when the machine was started, in minutes, may differ by this much. */
const BOOT_MINUTES_SLACK = 2;

export class RequestJournal {
  readonly #fs: FileSystem;
  readonly #folder: string;
  #fd: number;
  /** How long the file is. */
  bytes: number = 0;

  private constructor(fs: FileSystem, folder: string, fd: number) {
    this.#fs = fs;
    this.#folder = folder;
    this.#fd = fd;
  }

  /**
   * The complete lines that this start of the machine wrote, or undefined where there are none. An unfinished one at the end is left out.
   */
  static read(fs: FileSystem, folder: string): string[] | undefined {
    const text = readFile(fs, folder, REQUESTS_NAME)?.toString('utf8');
    if (text === undefined) return undefined;
    const [boot, ...lines] = text.split('\n').slice(0, -1);
    return boot !== undefined && isThisBoot(boot) ? lines : undefined;
  }

  /** Puts a new journal with one line in the place of any other, in one step. */
  static replace(fs: FileSystem, folder: string, line: string): RequestJournal {
    const temporary = join(folder, temporaryName('0.json'));
    return disk(folder, `write ${REQUESTS_NAME}`, () => {
      const journal = new RequestJournal(fs, folder, fs.open(temporary, 'wx'));
      try {
        journal.#write(`${bootMark()}\n${line}\n`);
        fs.rename(temporary, join(folder, REQUESTS_NAME));
      } catch (error) {
        journal.close();
        removeQuietly(fs, temporary);
        throw error;
      }
      return journal;
    });
  }

  static remove(fs: FileSystem, folder: string): void {
    removeQuietly(fs, join(folder, REQUESTS_NAME));
  }

  /**
   * Appends a line. On an error nothing of it counts.
   *
   * @throws {PodError} `ERR_POD_DISK`
   */
  append(line: string): void {
    disk(this.#folder, `append to ${REQUESTS_NAME}`, () => {
      try {
        this.#write(`${line}\n`);
      } catch (error) {
        this.#fs.truncate(this.#fd, this.bytes);
        throw error;
      }
    });
  }

  close(): void {
    closeQuietly(this.#fs, this.#fd);
  }

  #write(text: string): void {
    const bytes = Buffer.from(text);
    writeAll(this.#fs, this.#fd, bytes, this.bytes);
    this.bytes += bytes.length;
  }
}

/** This start of the machine; where the system does not tell, about when it was. */
function bootMark(): string {
  return bootIdentity() || `started about minute ${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
}

function isThisBoot(mark: string): boolean {
  const now = bootMark();
  const [then, here] = [mark, now].map((each) => /^started about minute (\d+)$/.exec(each)?.[1]);
  if (then === undefined || here === undefined) return mark === now;
  return Math.abs(Number(then) - Number(here)) <= BOOT_MINUTES_SLACK;
}
