/** Fetches one address, once, and says what came of it: a page, a redirect, no hope, or an error worth another try. */
import { STATUS_CODES } from 'node:http';
import { readBody } from './read-body.ts';

export const USER_AGENT = 'everpod-crawl/1.0';

export type FetchResult =
  | { readonly kind: 'page'; readonly status: number; readonly html: string; readonly bytes: number }
  | { readonly kind: 'redirect'; readonly status: number; readonly location: string }
  /** Asking again would give the same answer. */
  | { readonly kind: 'hopeless'; readonly reason: string };

export interface FetchOptions {
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** Cuts the request short; `fetchPage` then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** An attempt that failed and may go better next time. Its `code` is short and the same for the same cause. */
export class FetchError extends Error {
  override readonly name = 'FetchError';
  readonly code: string;
  /** How long the server asked us to stay away. */
  readonly retryAfterMs: number | undefined;

  constructor(code: string, message: string, options?: { cause?: unknown; retryAfterMs?: number }) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }
}

/** Request timeout, too early, too many requests; all the other 4xx say that the request itself is wrong. */
const WORTH_ANOTHER_TRY = new Set([408, 425, 429]);

export async function fetchPage(address: string, options: FetchOptions): Promise<FetchResult> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([timeout, options.signal]) : timeout;
  try {
    // Redirects are not followed: each address on the way is a task of its own, fetched once and remembered.
    const headers = { accept: 'text/html, application/xhtml+xml', 'user-agent': USER_AGENT };
    const response = await fetch(address, { redirect: 'manual', headers, signal });
    const result = await readResponse(response, options.maxBytes);
    // What was not read would hold its connection.
    if (!response.bodyUsed) await response.body?.cancel();
    return result;
  } catch (error) {
    if (error instanceof FetchError) throw error;
    options.signal?.throwIfAborted();
    if (timeout.aborted) throw new FetchError('TIMEOUT', `no complete answer within ${options.timeoutMs} ms`);
    throw networkError(error);
  }
}

async function readResponse(response: Response, maxBytes: number): Promise<FetchResult> {
  const { status } = response;
  const said = `${status} ${STATUS_CODES[status] ?? ''}`.trim();
  if ([301, 302, 303, 307, 308].includes(status)) {
    const location = response.headers.get('location');
    return location
      ? { kind: 'redirect', status, location }
      : { kind: 'hopeless', reason: `${said} without a location` };
  }
  if (status >= 500 || WORTH_ANOTHER_TRY.has(status)) {
    const retryAfterMs = readRetryAfter(response.headers.get('retry-after'));
    throw new FetchError(`HTTP_${status}`, said, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  if (status < 200 || status >= 300) return { kind: 'hopeless', reason: said };

  const contentType = response.headers.get('content-type') ?? 'nothing said';
  const [mediaType = ''] = contentType.toLowerCase().split(';');
  if (!['text/html', 'application/xhtml+xml'].includes(mediaType.trim())) {
    return { kind: 'hopeless', reason: `not HTML: ${mediaType.trim()}` };
  }
  const { bytes, isCut } = await readBody(response, maxBytes);
  if (isCut) return { kind: 'hopeless', reason: `more than ${maxBytes} bytes` };
  return { kind: 'page', status, html: decode(bytes, contentType), bytes: bytes.length };
}

/** The header names the charset, or else the page's own <meta>, or else it is UTF-8, which nearly all of the web is. */
function decode(body: Buffer, contentType: string): string {
  const pattern = /charset\s*=\s*["']?([\w.:-]+)/i;
  const label = pattern.exec(contentType)?.[1] ?? pattern.exec(body.toString('latin1', 0, 1024))?.[1] ?? 'utf-8';
  try {
    return new TextDecoder(label).decode(body);
  } catch {
    return new TextDecoder().decode(body);
  }
}

/** `Retry-After` is a number of seconds or a date. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return ms > 0 ? ms : undefined;
}

/** `fetch` says no more than "fetch failed"; what went wrong is in the cause. */
function networkError(error: unknown): FetchError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as { code?: unknown }).code;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new FetchError(typeof code === 'string' ? code : 'NETWORK', message, { cause: error });
}
