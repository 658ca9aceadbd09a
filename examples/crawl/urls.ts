/**
 * Turns the many spellings of an address into the one that is used as a key.
 *
 * Two spellings that no server may tell apart must give one key, or a page is fetched twice; two that a server may tell
 * apart must stay two, or a page is missed. So only what RFC 3986 calls safe is done here: `/docs/` and
 * `/docs/index.html` stay two keys, and the order of a query is kept.
 */

/** A percent-encoded byte that no stray `%` before it makes ambiguous (`%%41` is not an encoded letter). */
const ESCAPE = /(?<!%[0-9a-f]?)%[0-9a-f]{2}/gi;
const UNRESERVED = /^[A-Za-z0-9._~-]$/;

/** Resolves `href` against `base`; `undefined` for what is no page on the web (mailto:, javascript:, nonsense). */
export function normaliseUrl(href: string, base?: string): string | undefined {
  // URL itself lower-cases scheme and host, drops default ports, resolves dot segments and encodes what is not ASCII.
  if (!URL.canParse(href, base)) return undefined;
  const url = new URL(href, base);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined;
  url.hash = '';
  // A password in a link is no reason to keep it on disk.
  url.username = '';
  url.password = '';
  url.pathname = normaliseEscapes(url.pathname);
  const query = url.search.slice(1).split('&').filter(Boolean).join('&');
  // The setter takes off one `?`, which may be the query's own first character.
  url.search = query === '' ? '' : `?${normaliseEscapes(query)}`;
  return url.href;
}

/** Scheme, host and port: what is asked politely. */
export function originOf(url: string): string {
  return new URL(url).origin;
}

/** True if both addresses have the same origin. */
export function isSameOrigin(url: string, other: string): boolean {
  return originOf(url) === originOf(other);
}

/** `%7e` and `~`, `%c3` and `%C3` are the same: letters that need no escape lose it, the others are in upper case. */
function normaliseEscapes(text: string): string {
  return text.replace(ESCAPE, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
    return UNRESERVED.test(character) ? character : encoded.toUpperCase();
  });
}
