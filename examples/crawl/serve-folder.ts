/** Answers requests with the files of a folder, and with nothing outside of it. */
import { createReadStream, realpathSync, statSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import path from 'node:path';

// No charset for HTML: only the file's own <meta> knows it.
const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.gif': 'image/gif',
  '.htm': 'text/html',
  '.html': 'text/html',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.xhtml': 'application/xhtml+xml',
  '.xml': 'application/xml',
};

export function serveFolder(folder: string): RequestListener {
  const root = realpathSync(folder);
  return (request, response) => {
    const answer = (status: number, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(`${status}\n`);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, { allow: 'GET, HEAD' });

    const [rawPath = '/', query] = (request.url ?? '/').split('?', 2);
    const wanted = decodePath(rawPath);
    if (wanted === undefined) return answer(400);
    let file = findInside(root, wanted);
    if (file === undefined) return answer(404);
    if (statSync(file).isDirectory()) {
      // Without the slash every relative link of the folder's page would point one level too high.
      // And two slashes in front would make the location another host.
      const withSlash = `${rawPath.replace(/^\/+/, '/')}/`;
      if (!rawPath.endsWith('/')) return answer(301, { location: query ? `${withSlash}?${query}` : withSlash });
      file = findInside(root, `${wanted}index.html`);
    } else if (rawPath.endsWith('/')) {
      return answer(404);
    }
    if (file === undefined || !statSync(file).isFile()) return answer(404);

    const type = TYPES[path.extname(file).toLowerCase()] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, 'content-length': String(statSync(file).size) });
    if (request.method === 'HEAD') return response.end();
    return createReadStream(file)
      .on('error', () => response.destroy())
      .pipe(response);
  };
}

function decodePath(rawPath: string): string | undefined {
  try {
    const decoded = decodeURIComponent(rawPath);
    return decoded.startsWith('/') && !decoded.includes('\0') ? decoded : undefined;
  } catch {
    return undefined;
  }
}

/** The real path of a file below the root. Links are followed first, so that none of them leads out. */
function findInside(root: string, wanted: string): string | undefined {
  try {
    const real = realpathSync(path.join(root, wanted));
    return real === root || real.startsWith(root + path.sep) ? real : undefined;
  } catch {
    return undefined;
  }
}
