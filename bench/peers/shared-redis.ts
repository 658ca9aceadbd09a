/**
 * Redis used by several processes: a server that this bench starts, and ioredis over a Unix socket.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requirePeer } from './peer.ts';
import type { SharedPeer } from './shared.ts';

interface Client {
  defineCommand(name: string, definition: { numberOfKeys: number; lua: string }): void;
  rpush(key: string, ...values: string[]): Promise<number>;
  hincrby(key: string, field: string, by: number): Promise<number>;
  hget(key: string, field: string): Promise<string | null>;
  hlen(key: string): Promise<number>;
  keys(pattern: string): Promise<string[]>;
  hmget(key: string, ...fields: string[]): Promise<(string | null)[]>;
  quit(): Promise<unknown>;
  claim(worker: number, nowMs: number): Promise<string | null>;
  finish(key: string): Promise<number>;
}

interface Module {
  readonly Redis: new (options: { path: string }) => Client;
}

const CLAIM = `
  local key = redis.call('LPOP', 'todo')
  if not key then return nil end
  redis.call('HINCRBY', 'task:' .. key, 'tries', 1)
  redis.call('HSET', 'claims', key, ARGV[1] .. ' ' .. ARGV[2])
  return key`;
const FINISH = `
  redis.call('HSET', 'task:' .. ARGV[1], 'done', 1)
  return redis.call('HDEL', 'claims', ARGV[1])`;
/** Keys that one command takes. */
const BATCH = 1000;
const START_MS_MAX = 10_000;

const SERVER = process.env.REDIS_SERVER ?? 'redis-server';

export function sharedRedis(): SharedPeer {
  const connect = (folder: string): Client => {
    const { Redis } = requirePeer<Module>('ioredis');
    const client = new Redis({ path: socketIn(folder) });
    client.defineCommand('claim', { numberOfKeys: 0, lua: CLAIM });
    client.defineCommand('finish', { numberOfKeys: 0, lua: FINISH });
    return client;
  };
  return {
    serve: startServer,
    async fill(folder, keys) {
      const client = connect(folder);
      for (let from = 0; from < keys.length; from += BATCH) {
        const batch = keys.slice(from, from + BATCH);
        await Promise.all(batch.map((key) => client.hincrby(`task:${key}`, 'tries', 0)));
        await client.rpush('todo', ...batch);
      }
      await client.hincrby('counter', 'n', 0);
      await client.quit();
    },
    async connect(folder, index) {
      const client = connect(folder);
      return {
        async drain(visit) {
          for (;;) {
            const key = await client.claim(index, Date.now());
            if (key === null) return;
            visit(key);
            await client.finish(key);
          }
        },
        increment: () => client.hincrby('counter', 'n', 1),
        async counts() {
          let [done, tries] = [0, 0];
          const keys = await client.keys('task:*');
          for (const row of await Promise.all(keys.map((key) => client.hmget(key, 'done', 'tries')))) {
            done += Number(row[0]);
            tries += Number(row[1]);
          }
          const counter = Number(await client.hget('counter', 'n'));
          return { done, tries, claims: await client.hlen('claims'), counter };
        },
        close: () => client.quit(),
      };
    },
  };
}

/** Why there is no server here. */
sharedRedis.missing = (): string | undefined => {
  const { error, status } = spawnSync(SERVER, ['--version']);
  if (error === undefined && status === 0) return undefined;
  return `${SERVER} could not be started. Install Redis, or set REDIS_SERVER to its program.`;
};

/** What the server says of itself, such as `redis-server 7.0.15`. */
sharedRedis.version = (): string => {
  const said = spawnSync(SERVER, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  return `redis-server ${/v=(\S+)/.exec(said)?.[1] ?? 'of an unknown version'}`;
};

function socketIn(folder: string): string {
  return join(folder, 'redis.sock');
}

async function startServer(folder: string): Promise<() => Promise<void>> {
  const options = {
    port: '0',
    unixsocket: socketIn(folder),
    dir: folder,
    appendonly: 'yes',
    appendfsync: 'no',
    save: '',
    daemonize: 'no',
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const server = spawn(SERVER, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  process.once('exit', () => server.kill('SIGKILL'));
  for (let waitedMs = 0; !existsSync(socketIn(folder)); waitedMs += 10) {
    if (server.exitCode !== null || waitedMs > START_MS_MAX) throw new Error(`${SERVER} did not start.`);
    await sleep(10);
  }
  return () => stop(server);
}

async function stop(server: ChildProcess): Promise<void> {
  const ended = once(server, 'exit');
  server.kill('SIGKILL');
  await ended;
}
