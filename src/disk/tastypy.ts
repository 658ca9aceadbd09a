/**
 * The dialect of tastypy, the library's ancestor: folders of bare shards whose keys have every backslash doubled.
 *
 * Such a folder has no manifest. It is adopted as it lies (checklist TP-090 to TP-098); it can be written again with `everpod
 * export --tastypy`.
 */
import { PodError } from '../core/errors.ts';
import { type Key, keyText, parseKey } from '../core/key.ts';

/**
 * The key that tastypy wrote as `text`: JSON with each backslash written twice.
 *
 * @throws {SyntaxError | PodError} where it is not such a text
 */
export function decodeTastypyKey(text: string): Key {
  if (text.indexOf('\\') < 0) return parseKey(text);
  for (const run of text.matchAll(/\\+/g)) {
    if (run[0].length % 2 !== 0) {
      throw new PodError('ERR_POD_KEY', 'A key in a tastypy folder has an odd number of backslashes in a row.', {
        key: text,
      });
    }
  }
  return parseKey(text.replaceAll('\\\\', '\\'));
}

/** A key as tastypy writes it: ASCII JSON (as Python's `json.dumps` makes it), each backslash twice. */
export function encodeTastypyKey(key: Key): string {
  return asciiJson(keyText(key)).replaceAll('\\', '\\\\');
}

/** JSON text with everything beyond ASCII escaped, as Python's `json.dumps` does. */
export function asciiJson(json: string): string {
  return json.replace(/[\x7f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
