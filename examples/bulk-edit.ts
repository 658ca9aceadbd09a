/**
 * Bulk edits: change many entries, and decide at the end whether they shall stay.
 *
 *     npx tsx examples/bulk-edit.ts [folder]
 *
 * Without a folder it works in a temporary one. With one, run it twice: the second run starts with the prices of the first.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { POD } from '../src/index.ts';

interface Product {
  name: string;
  cents: number;
  tags: string[];
}

const folder = process.argv[2] ?? mkdtempSync(path.join(tmpdir(), 'everpod-bulk-edit-'));
const products = POD.open<Product>(path.join(folder, 'products.pod'));

if (products.size === 0) {
  for (let n = 1; n <= 5_000; n++) products.set(`product-${n}`, { name: `Product ${n}`, cents: 100 * n, tags: [] });
  products.sync();
}
console.log(`${products.size} products in ${products.path}`);

// 1. Raise every price. A pod syncs by itself every so many changes and every second; `hold` keeps it from doing so in
// the middle of the work. What is inside an entry is changed in place: no `set` is needed for the pod to notice.
products.hold();
try {
  for (const product of products.values()) product.cents = Math.round(product.cents * 1.1);
  console.log(`raised: ${products.dirty().size} entries changed and not yet synced`);
} finally {
  // Holds nest, so each needs its `unhold`, also when the work throws.
  products.unhold();
}
products.sync();
console.log(`synced: ${products.dirty().size} entries not yet synced, product-5000 costs ${price('product-5000')}`);

// 2. Think better of it. `revert` goes back to the last sync point, which cannot move while the pod is held.
products.hold();
try {
  for (const product of products.values()) product.tags.push('sale');
  for (let n = 1; n <= 100; n++) products.delete(`product-${n}`);
  console.log(`planned: ${products.size} products left, all on sale`);
  products.revert();
} finally {
  products.unhold();
}
console.log(`reverted: ${products.size} products, product-5000 has ${tags('product-5000')} tags`);

// 3. All or nothing. A transaction that throws has not happened, and neither has one that a crash cut in two.
try {
  products.transaction(() => {
    for (const [key, product] of products) {
      product.cents -= 50_000;
      if (product.cents < 0) throw new RangeError(`${key} would cost less than nothing`);
    }
  });
} catch (error) {
  if (!(error instanceof RangeError)) throw error;
  console.log(`refused: ${error.message}; product-5000 still costs ${price('product-5000')}`);
}

products.close();

function price(key: string): string {
  return ((products.get(key)?.cents ?? 0) / 100).toFixed(2);
}

function tags(key: string): number {
  return products.get(key)?.tags.length ?? 0;
}
