/** The pages of the demo site as a table: how each answers, and which pages a crawler should find from it. */

export type Answer =
  | {
      readonly kind: 'page';
      readonly title: string;
      readonly head: string;
      readonly body: string;
      readonly delayMs: number;
    }
  | { readonly kind: 'redirect'; readonly status: number; readonly location: string }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'type'; readonly contentType: string }
  | { readonly kind: 'huge'; readonly bytes: number }
  /** Never answers. */
  | { readonly kind: 'hang' }
  /** Fails the first time in the life of a server and is a page from then on. */
  | { readonly kind: 'once'; readonly failure: number | 'reset'; readonly afterwards: Answer };

export interface DemoPage {
  readonly answer: Answer;
  /** The paths that its links or its redirect mean, spelt as in this table. Off-site ones are not in it. */
  readonly leadsTo: readonly string[];
}

/** A link is a path, or a piece of HTML together with the path it means; without one it is not to be followed. */
type Link = string | { readonly html: string; readonly to?: string };

const TOPICS = [
  'bridges',
  'clocks',
  'ferns',
  'kites',
  'knots',
  'locks',
  'maps',
  'mills',
  'owls',
  'rivers',
  'stars',
  'tea',
];
const ARTICLES_PER_TOPIC = 16;
const ARTICLES_PER_LIST = 8;
const OFF_SITE = 'https://off-site.example/';

/** Every page by its path. The same on every call: nothing in it depends on time or chance. */
export function demoPages(origin: string): ReadonlyMap<string, DemoPage> {
  const pages = new Map<string, DemoPage>();
  addPage(pages, '/', 'Everyday things', [
    '/topics/',
    '/odd/',
    '/moved/',
    '/trouble/',
    '/private/',
    offSite('elsewhere'),
  ]);
  addTopics(pages);
  addOddLinks(pages, new URL(origin).host);
  addMoved(pages);
  addTrouble(pages);
  addPage(pages, '/private/', 'Closed to crawlers', ['/private/drawer.html']);
  addPage(pages, '/private/drawer.html', 'Also closed', []);
  addPage(pages, '/private/window.html', 'Open all the same', ['/']);
  return pages;
}

export const ROBOTS_TXT = `# Crawlers are welcome, except here:
User-agent: *
Disallow: /private/
Allow: /private/window.html

User-agent: another-crawler
Disallow: /
`;

/** The bulk of the site: lists in several pages, articles that lead to the next, to the list and to another topic. */
function addTopics(pages: Map<string, DemoPage>): void {
  addPage(pages, '/topics/', 'Topics', ['/', ...TOPICS.map((topic) => `/topics/${topic}/`)]);
  for (const [t, topic] of TOPICS.entries()) {
    const article = (n: number) => `/topics/${topic}/${String(n).padStart(2, '0')}.html`;
    const lists = ARTICLES_PER_TOPIC / ARTICLES_PER_LIST;
    for (let list = 1; list <= lists; list++) {
      const links: Link[] = ['/topics/'];
      for (let i = 1; i <= ARTICLES_PER_LIST; i++) links.push(article((list - 1) * ARTICLES_PER_LIST + i));
      if (list < lists) links.push(written(`?page=${list + 1}`, `/topics/${topic}/?page=${list + 1}`));
      addPage(
        pages,
        `/topics/${topic}/${list === 1 ? '' : `?page=${list}`}`,
        `All about ${topic}, page ${list}`,
        links,
      );
    }
    for (let n = 1; n <= ARTICLES_PER_TOPIC; n++) {
      const other = TOPICS[(t + n) % TOPICS.length];
      const links: Link[] = [written('./', `/topics/${topic}/`), written(`../${other}/`, `/topics/${other}/`), '/'];
      if (n < ARTICLES_PER_TOPIC) links.push(article(n + 1));
      if (n % 7 === 0) links.push(offSite(`${topic}/${n}`));
      addPage(pages, article(n), `${topic} ${n}`, links);
    }
  }
}

/** Links as people write them. Each page here is found only if its way of writing is understood. */
function addOddLinks(pages: Map<string, DemoPage>, host: string): void {
  const links: Link[] = [
    written('relative.html', '/odd/relative.html'),
    written('./nowhere/../dot-segments.html', '/odd/dot-segments.html'),
    written('../odd/up-and-down.html', '/odd/up-and-down.html'),
    written('../../../odd/above-the-root.html', '/odd/above-the-root.html'),
    written('fragment.html#part-2', '/odd/fragment.html'),
    written('#top', '/odd/'),
    written(`HTTP://${host.toUpperCase()}/odd/upper-case-host.html`, '/odd/upper-case-host.html'),
    written(`//${host}/odd/without-scheme.html`, '/odd/without-scheme.html'),
    written('entities.html?a=1&amp;b=2', '/odd/entities.html?a=1&b=2'),
    written('caf&eacute;.html', '/odd/caf%C3%A9.html'),
    written('café.html', '/odd/caf%C3%A9.html'),
    written('caf%c3%a9.html', '/odd/caf%C3%A9.html'),
    written('%7etilde.html', '/odd/~tilde.html'),
    written('\n  spaces-around.html  ', '/odd/spaces-around.html'),
    written('empty-query.html?', '/odd/empty-query.html'),
    written('query.html?&amp;b=2&amp;&amp;a=1&amp;', '/odd/query.html?b=2&a=1'),
    written('query.html?a=1&amp;b=2', '/odd/query.html?a=1&b=2'),
    written('index.html', '/odd/index.html'),
    written('based/', '/odd/based/'),
    { html: '<a href=unquoted.html>unquoted</a>', to: '/odd/unquoted.html' },
    { html: "<A HREF='upper-case-tag.html'>upper case</A>", to: '/odd/upper-case-tag.html' },
    { html: '<map name="m"><area href="area.html" alt="area"></map>', to: '/odd/area.html' },
    { html: '<a rel="noopener NoFollow" href="nofollow.html">not to be followed</a>' },
    { html: '<a href="mailto:nobody@demo.everpod.test">mail</a> <a href="tel:+100">telephone</a>' },
    { html: '<a href="javascript:history.back()">script</a> <a href="http://[">nonsense</a> <a name="top">anchor</a>' },
    { html: '<!-- <a href="in-a-comment.html">hidden</a> -->' },
    { html: '<script>const text = \'<a href="in-a-script.html">hidden</a>\';</script>' },
    { html: '<img src="picture.png" alt=""> <link rel="stylesheet" href="style.css">' },
    offSite('odd'),
  ];
  addPage(pages, '/odd/', 'Links as people write them', links);
  for (const link of links) {
    if (typeof link === 'string' || link.to === undefined || pages.has(link.to) || link.to === '/odd/based/') continue;
    addPage(pages, link.to, `Found: ${link.to}`, ['/odd/']);
  }
  for (const hidden of ['nofollow', 'in-a-comment', 'in-a-script']) addPage(pages, `/odd/${hidden}.html`, hidden, []);
  const base = '<base href="/odd/elsewhere/"><base href="/odd/only-the-first-base-counts/">';
  addPage(pages, '/odd/based/', 'A base for links', [written('below.html', '/odd/elsewhere/below.html')], {
    head: base,
  });
  addPage(pages, '/odd/elsewhere/below.html', 'Below the base', []);
}

function addMoved(pages: Map<string, DemoPage>): void {
  const moves: [from: string, status: number, location: string, to?: string][] = [
    ['for-good.html', 301, '/moved/new-home.html', '/moved/new-home.html'],
    ['for-now.html', 302, 'relative-home.html#part', '/moved/relative-home.html'],
    ['same-method.html', 307, '/', '/'],
    ['chain-1.html', 308, 'chain-2.html', '/moved/chain-2.html'],
    ['chain-2.html', 301, 'chain-3.html', '/moved/chain-3.html'],
    ['chain-3.html', 303, 'chain-end.html', '/moved/chain-end.html'],
    ['to-nothing.html', 301, 'nothing-here.html', '/moved/nothing-here.html'],
    ['to-private.html', 302, '/private/drawer.html', '/private/drawer.html'],
    ['off-site.html', 302, OFF_SITE],
    ['loop-1.html', 302, 'loop-2.html', '/moved/loop-2.html'],
    ['loop-2.html', 302, 'loop-3.html', '/moved/loop-3.html'],
    ['loop-3.html', 302, 'loop-1.html', '/moved/loop-1.html'],
    ['into-the-loop.html', 302, 'loop-2.html', '/moved/loop-2.html'],
    ['to-itself.html', 302, 'to-itself.html', '/moved/to-itself.html'],
    ['no-location.html', 302, ''],
  ];
  for (const [from, status, location, to] of moves) {
    pages.set(`/moved/${from}`, {
      answer: { kind: 'redirect', status, location },
      leadsTo: to === undefined ? [] : [to],
    });
  }
  // Not linked: only a redirect leads here.
  for (const name of ['new-home', 'relative-home', 'chain-end']) addPage(pages, `/moved/${name}.html`, name, ['/']);
  const linked = moves.map(([from]) => `/moved/${from}`).filter((path) => !/chain-[23]|loop-[23]/.test(path));
  addPage(pages, '/moved/', 'Moved', ['/', ...linked]);
}

function addTrouble(pages: Map<string, DemoPage>): void {
  const trouble = new Map<string, Answer>();
  for (const n of [1, 2, 3, 4, 5, 6]) {
    trouble.set(`slow-${n}`, page(`Slow ${n}`, [], { delayMs: 300 }));
    // What is behind a page that fails must be found after all.
    trouble.set(`fails-once-${n}`, {
      kind: 'once',
      failure: 500,
      afterwards: page('Better', [`/trouble/behind-${n}.html`]),
    });
  }
  trouble.set('busy', { kind: 'once', failure: 429, afterwards: page('No longer busy', []) });
  trouble.set('cut-off', { kind: 'once', failure: 'reset', afterwards: page('Connected', []) });
  trouble.set('always-fails-1', { kind: 'status', status: 500 });
  trouble.set('always-fails-2', { kind: 'status', status: 503 });
  trouble.set('never-answers', { kind: 'hang' });
  trouble.set('gone-1', { kind: 'status', status: 410 });
  trouble.set('gone-2', { kind: 'status', status: 410 });
  trouble.set('forbidden', { kind: 'status', status: 403 });
  trouble.set('document', { kind: 'type', contentType: 'application/pdf' });
  trouble.set('huge', { kind: 'huge', bytes: 8_000_000 });
  for (const [name, answer] of trouble) {
    const behind = answer.kind === 'once' && answer.failure === 500 ? [`/trouble/behind-${name.slice(-1)}.html`] : [];
    pages.set(`/trouble/${name}.html`, { answer, leadsTo: behind });
    for (const path of behind) addPage(pages, path, 'Behind a page that failed', []);
  }
  const dead = [1, 2, 3, 4, 5].map((n) => `/trouble/dead-link-${n}.html`);
  const linked = [...trouble.keys()].map((name) => `/trouble/${name}.html`);
  addPage(pages, '/trouble/', 'Trouble', ['/', ...linked, ...dead, '/private/window.html']);
}

type Extras = { readonly head?: string; readonly delayMs?: number };

function addPage(pages: Map<string, DemoPage>, path: string, title: string, links: Link[], extras?: Extras): void {
  const leadsTo = links.map((link) => (typeof link === 'string' ? link : link.to)).filter((to) => to !== undefined);
  pages.set(path, { answer: page(title, links, extras), leadsTo });
}

function page(title: string, links: Link[], { head = '', delayMs = 0 }: Extras = {}): Answer {
  const items = links.map((link) => (typeof link === 'string' ? written(link, link).html : link.html));
  const body = `<ul>\n${items.map((item) => `<li>${item}</li>\n`).join('')}</ul>`;
  return { kind: 'page', title, head, body, delayMs };
}

function written(href: string, to: string): { html: string; to: string } {
  return { html: `<a href="${href}">${to}</a>`, to };
}

function offSite(path: string): Link {
  return { html: `<a href="${OFF_SITE}${path}">off-site</a>` };
}
