/**
 * Stands for the network while the crawl of the README runs: a site of three pages, one of which is not there.
 */
const PAGES: ReadonlyMap<string, string> = new Map([
  ['https://example.org/', '<title>Home</title> <a href="https://example.org/a">A</a>'],
  [
    'https://example.org/a',
    '<title>A</title> <a href="https://example.org/">Home</a> <a href="https://example.org/b">B</a>',
  ],
]);

globalThis.fetch = (input) => {
  const text = PAGES.get(String(input));
  return text === undefined ? Promise.reject(new TypeError('fetch failed')) : Promise.resolve(new Response(text));
};
