import { describe, expect, it } from 'vitest';
import { readPage } from '../../examples/crawl/links.ts';

const URL = 'http://example.test/docs/page.html';
const linksOf = (html: string) => readPage(html, URL).links;

describe('readPage', () => {
  it('finds the links of <a> and <area>, each once, in the order of the page', () => {
    const html = '<a href="b.html">b</a><A HREF=a.html>a</A><map><area href="c.html"></map><a href="b.html#x">b</a>';
    expect(linksOf(html)).toEqual(['b', 'a', 'c'].map((name) => `http://example.test/docs/${name}.html`));
  });

  it('decodes entities and encodes what is not ASCII', () => {
    expect(linksOf('<a href="?a=1&amp;b=2"></a><a href="caf&eacute;"></a><a href="caf&#xE9;"></a>')).toEqual([
      'http://example.test/docs/page.html?a=1&b=2',
      'http://example.test/docs/caf%C3%A9',
    ]);
  });

  it('keeps links to other sites: what is in scope is not decided here', () => {
    expect(linksOf('<a href="https://other.test/">x</a>')).toEqual(['https://other.test/']);
  });

  it.each([
    '<a href="mailto:x@example.test"></a>',
    '<a href=" JavaScript:alert(1)"></a>',
    '<a name="here"></a>',
    '<a rel="nofollow" href="x"></a>',
    '<a rel="noopener NOFOLLOW" href="x"></a>',
    '<!-- <a href="x"></a> -->',
    '<script>"<a href=x>"</script>',
    '<style>/* <a href="x"> */</style>',
    '<textarea><a href="x"></a></textarea>',
    '<title><a href="x"></a></title>',
    '<link href="x"><img src="y"><iframe src="z"></iframe>',
    '<meta name="robots" content="noindex, nofollow"><a href="x"></a>',
    '<a href="x"></a><META NAME=Robots CONTENT=none>',
  ])('finds nothing to follow in %s', (html) => {
    expect(linksOf(html)).toEqual([]);
  });

  it('follows a link whose rel only looks like nofollow', () => {
    expect(linksOf('<a rel="nofollower" href="x"></a><a rel="no follow" href="y"></a>')).toHaveLength(2);
  });

  it('resolves against the first <base>, also what is written above it', () => {
    const html = '<a href="x"></a><base target="_top"><base href="/other/"><base href="/third/"><a href="y"></a>';
    expect(linksOf(html)).toEqual(['http://example.test/other/x', 'http://example.test/other/y']);
  });

  it('resolves a relative base against the page, and does without a base that is nonsense', () => {
    expect(linksOf('<base href="sub/"><a href="x"></a>')).toEqual(['http://example.test/docs/sub/x']);
    expect(linksOf('<base href="http://["><a href="x"></a>')).toEqual(['http://example.test/docs/x']);
  });

  it.each([
    ['<title>\n  Tea  &amp;\tbiscuits </title>', 'Tea & biscuits'],
    ['<title>first</title><title>second</title>', 'first'],
    ['<svg><title>drawing</title></svg><title>page</title>', 'page'],
    ['<h1>none</h1>', ''],
    ['<title>never closed', 'never closed'],
  ])('reads the title of %j', (html, title) => {
    expect(readPage(html, URL).title).toBe(title);
  });
});
