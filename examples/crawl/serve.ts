/** Serves a site on this machine only, on whatever port is free. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Server {
  /** For example `http://127.0.0.1:40123`. */
  readonly origin: string;
  close(): Promise<void>;
}

export async function serve(handle: RequestListener): Promise<Server> {
  const server = createServer(handle);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
        // Otherwise a page that never answers would keep the process alive.
        server.closeAllConnections();
      }),
  };
}
