/**
 * Finds whole numbers in JSON text that JavaScript cannot hold, such as long ids. Pure.
 *
 * `JSON.parse` rounds them without a word. Whoever wrote them down meant every digit.
 */

const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The first whole number in some JSON text that would come back as another one. The text must be JSON. */
export function findInexact(text: string): string | undefined {
  // Up to fifteen digits are always exact.
  if (!/\d{16}/.test(text)) return undefined;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      for (at++; text.charCodeAt(at) !== QUOTE; at++) if (text.charCodeAt(at) === BACKSLASH) at++;
      continue;
    }
    NUMBER.lastIndex = at;
    const number = NUMBER.exec(text)?.[0];
    if (number === undefined) continue;
    if (/^-?\d+$/.test(number) && !isExact(number)) return number;
    at += number.length - 1;
  }
  return undefined;
}

/** What `JSON.stringify` writes is exact whatever it stands for: 12345678901234567000 is its shortest name for one certain number. */
function isExact(whole: string): boolean {
  const number = Number(whole);
  return String(number) === whole || (Number.isFinite(number) && BigInt(number) === BigInt(whole));
}
