/** Reads the title and the links out of a page of HTML. */
import { Parser } from 'htmlparser2';
import { normaliseUrl } from './urls.ts';

export interface PageContent {
  readonly title: string;
  /** Normalised and without repeats, in the order of the page. */
  readonly links: readonly string[];
}

export function readPage(html: string, pageUrl: string): PageContent {
  const hrefs: string[] = [];
  let title = '';
  let titleState: 'before' | 'inside' | 'after' = 'before';
  let base: string | undefined;
  let pageIsNofollow = false;
  let svgDepth = 0;

  const parser = new Parser({
    onopentag(name, attributes) {
      const href = attributes.href;
      // A drawing may have titles too; the page's is the first outside of one.
      if (name === 'svg') svgDepth += 1;
      else if (name === 'title' && svgDepth === 0 && titleState === 'before') titleState = 'inside';
      else if (name === 'base' && href !== undefined) base ??= href;
      else if (name === 'meta' && attributes.name?.toLowerCase() === 'robots') {
        pageIsNofollow ||= /\b(nofollow|none)\b/i.test(attributes.content ?? '');
      } else if ((name === 'a' || name === 'area') && href !== undefined) {
        if (!/\bnofollow\b/i.test(attributes.rel ?? '')) hrefs.push(href);
      }
    },
    ontext(text) {
      if (titleState === 'inside') title += text;
    },
    onclosetag(name) {
      if (name === 'svg') svgDepth -= 1;
      else if (name === 'title' && titleState === 'inside') titleState = 'after';
    },
  });
  parser.end(html);

  // The base holds for the whole page, also for links written above it, so nothing is resolved before the end.
  const from = base === undefined ? pageUrl : (normaliseUrl(base, pageUrl) ?? pageUrl);
  const links = new Set<string>();
  if (!pageIsNofollow) {
    for (const href of hrefs) {
      const link = normaliseUrl(href, from);
      if (link !== undefined) links.add(link);
    }
  }
  return { title: title.replace(/\s+/g, ' ').trim(), links: [...links] };
}
