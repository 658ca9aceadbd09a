/**
 * Views: deep proxies that read like the plain value and report every change below it to one owner.
 *
 * A view reports *that* its value changed, never where: no paths, so no stale array indices and no path arithmetic. The
 * owner itself is the proxy handler of all its views, so that the traps are shared by every entry and a view costs one
 * `Proxy` and nothing more; an object and its view are kept together in the owner (see `docs/performance` figures for why:
 * a handler or a `WeakMap` for each entry costs 1.2 to 1.7 times as much).
 *
 * Plain values are trees that nobody else refers to (they are copied in), so an object leaves its entry exactly when the
 * property that holds it is overwritten or deleted. That is the moment its view is forgotten; a forgotten view is detached.
 */
import { PodError } from './errors.ts';
import { type Container, copyJson, DEPTH_MAX, type Json, setOwn } from './json.ts';

/** Reads the handler and the plain object out of a view; the symbol never leaves this file. */
const UNWRAP = Symbol('unwrap');

interface Unwrapped {
  readonly handler: TrackedValue;
  readonly plain: Container;
}

/**
 * A value whose views report its changes, and the handler of those views.
 *
 * `root` is the plain value. A subclass says what a change means: `beforeChange` may refuse it by throwing, and sees the
 * old value; `afterChange` sees the new one. Between the two nothing can fail, so no change is ever half applied.
 */
export abstract class TrackedValue implements ProxyHandler<Container> {
  protected root: unknown;
  #rootView: object | undefined;
  /** Views of the objects below the root that were looked at, by plain object. An object that left the value is not here. */
  #views: Map<object, object> | undefined;

  /** Throws where nothing may be changed now. Asked for writes that turn out to change nothing, which are refused like any other. */
  protected abstract requireChangeable(): void;
  protected abstract beforeChange(): void;
  protected abstract afterChange(): void;
  /** What is thrown when a detached view is written to. */
  protected abstract detachedError(): PodError;
  /** Adds to an error whose value it is about. */
  protected abstract located(error: unknown): unknown;

  constructor(root: unknown) {
    this.root = root;
  }

  /** The root as a caller may see it: primitives as they are, anything else through a view that is always the same one. */
  protected view(): unknown {
    const root = this.root;
    if (typeof root !== 'object' || root === null) return root;
    this.#rootView ??= new Proxy(root as Container, this as ProxyHandler<Container>);
    return this.#rootView;
  }

  /** Whether anybody was given a view, and so may hold one. */
  get isViewed(): boolean {
    return this.#rootView !== undefined;
  }

  /** Puts another value in place; every view so far is detached. */
  protected replaceRoot(root: unknown): void {
    this.root = root;
    this.#rootView = undefined;
    this.#views = undefined;
  }

  /** Makes the root object's members those of `members` (plain, ours, perhaps the same objects), as one change or none. */
  assignMembers(members: object): void {
    const patch: Record<string, unknown> = {};
    for (const name of Object.keys(this.root as object)) {
      if (!Object.hasOwn(members, name)) setOwn(patch, name, undefined);
    }
    for (const [name, member] of Object.entries(members)) setOwn(patch, name, member);
    this.patchMembers(patch);
  }

  /**
   * Sets some of the root object's members, as one change or none: what is undefined in `members` is taken out. All else in it is plain and
   * ours.
   */
  patchMembers(members: Readonly<Record<string, unknown>>): void {
    const root = this.root as Record<string, unknown>;
    const names = Object.keys(members).filter((name) => !Object.is(root[name], members[name]));
    if (names.length === 0) return;
    this.beforeChange();
    for (const name of names) {
      this.#forget(root[name]);
      if (members[name] === undefined) delete root[name];
      else setOwn(root, name, members[name]);
    }
    this.afterChange();
  }

  // ---- The traps. There is none for `has` and `ownKeys`: the target is the plain value itself, which answers best.

  get(target: Container, name: string | symbol, receiver: unknown): unknown {
    const value = (target as Record<string | symbol, unknown>)[name];
    if (typeof value === 'object' && value !== null) return this.#memberView(target, name, value);
    // Only arrays inherit functions that change them, and every stored value is JSON: a function here is inherited.
    if (typeof value === 'function') return ARRAY_MUTATORS.get(value) ?? value;
    if (name === UNWRAP && value === undefined) return this.#unwrap(target, receiver);
    return value;
  }

  set(target: Container, name: string | symbol, value: unknown, receiver: unknown): boolean {
    const view = target === this.root ? this.#rootView : this.#views?.get(target);
    if (view === undefined) throw this.detachedError();
    // An object that merely inherits from a view gets a property of its own, as with any other prototype.
    if (receiver !== view) return Reflect.set(target, name, value, receiver);
    this.#assign(target, name, value);
    return true;
  }

  deleteProperty(target: Container, name: string | symbol): boolean {
    this.#requireAttached(target);
    if (!Object.hasOwn(target, name)) {
      this.requireChangeable();
      return true;
    }
    if (Array.isArray(target)) {
      throw this.#refuse(`deleting [${String(name)}] would leave a hole in the array; use splice`);
    }
    this.beforeChange();
    this.#forget((target as Record<string | symbol, unknown>)[name]);
    delete (target as Record<string | symbol, unknown>)[name];
    this.afterChange();
    return true;
  }

  defineProperty(target: Container, name: string | symbol, descriptor: PropertyDescriptor): boolean {
    this.#requireAttached(target);
    const existing = Object.hasOwn(target, name);
    const plain =
      'value' in descriptor &&
      (descriptor.enumerable ?? existing) &&
      (descriptor.writable ?? existing) &&
      (descriptor.configurable ?? existing);
    if (!plain) throw this.#refuse('a property with accessors, or one that is hidden or fixed, is not plain JSON');
    this.#assign(target, name, descriptor.value);
    return true;
  }

  getOwnPropertyDescriptor(target: Container, name: string | symbol): PropertyDescriptor | undefined {
    const descriptor = Reflect.getOwnPropertyDescriptor(target, name);
    const value: unknown = descriptor?.value;
    if (descriptor !== undefined && typeof value === 'object' && value !== null) {
      descriptor.value = this.#memberView(target, name, value);
    }
    return descriptor;
  }

  setPrototypeOf(target: Container, prototype: object | null): boolean {
    return Object.getPrototypeOf(target) === prototype;
  }

  preventExtensions(): boolean {
    throw this.#refuse('a view cannot be frozen, sealed or made fixed; take a copy with snapshot()');
  }

  // ---- What the traps and the array methods below share.

  #memberView(target: Container, name: string | symbol, value: object): object {
    if (!Object.hasOwn(target, name)) return value; // Object.prototype itself, through an absent `__proto__`.
    let view = this.#views?.get(value);
    if (view !== undefined) return view;
    view = new Proxy(value as Container, this as ProxyHandler<Container>);
    // A detached parent hands out detached children: they are not remembered, so a write to them is refused.
    if (target === this.root || this.#views?.has(target) === true) {
      this.#views ??= new Map();
      this.#views.set(value, view);
    }
    return view;
  }

  #requireAttached(target: Container): void {
    if (target !== this.root && this.#views?.has(target) !== true) throw this.detachedError();
  }

  #assign(target: Container, name: string | symbol, value: unknown): void {
    if (typeof name === 'symbol') throw this.#refuse('a property named by a symbol has no place in JSON');
    if (Array.isArray(target)) this.#assignElement(target, name, value);
    else this.#assignMember(target, name, value);
  }

  #assignMember(target: Record<string, unknown>, name: string, value: unknown): void {
    // As in JSON text, a property that is undefined is a property that is not there.
    if (value === undefined) {
      this.deleteProperty(target, name);
      return;
    }
    if (Object.hasOwn(target, name) && this.#isSame(target[name], value)) {
      this.requireChangeable();
      return;
    }
    const plain = this.#copyIn(target, value);
    this.beforeChange();
    if (Object.hasOwn(target, name)) this.#forget(target[name]);
    setOwn(target, name, plain);
    this.afterChange();
  }

  #assignElement(target: unknown[], name: string, value: unknown): void {
    if (name === 'length') {
      this.#setLength(target, value);
      return;
    }
    const index = Number(name);
    if (!Number.isInteger(index) || index < 0 || String(index) !== name) {
      throw this.#refuse(`"${name}" is not an element of an array, and JSON arrays have nothing else`);
    }
    if (index < target.length && this.#isSame(target[index], value)) {
      this.requireChangeable();
      return;
    }
    const plain = this.#copyIn(target, value);
    if (index > target.length)
      throw this.#refuse(`element ${index} would leave a hole after ${target.length} elements`);
    this.beforeChange();
    this.#forget(target[index]);
    target[index] = plain;
    this.afterChange();
  }

  #setLength(target: unknown[], value: unknown): void {
    const length = Number(value);
    if (!Number.isInteger(length) || length < 0) throw this.#refuse(`${String(value)} is not a length`);
    if (length > target.length) {
      throw this.#refuse(`a length of ${length} would leave holes after ${target.length} elements`);
    }
    if (length === target.length) {
      this.requireChangeable();
      return;
    }
    this.beforeChange();
    for (let index = length; index < target.length; index++) this.#forget(target[index]);
    target.length = length;
    this.afterChange();
  }

  /** Whether a write of `value` over `old` changes nothing: an equal primitive, or the view of what is there. */
  #isSame(old: unknown, value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return old === value;
    return typeof old === 'object' && old !== null && this.#views?.get(old) === value;
  }

  /** The copy of a value that is put into `target`. Making it can run code of the caller, so look at `target` afterwards. */
  #copyIn(target: Container, value: unknown): Json {
    let plain: Json;
    try {
      plain = copyJson(value, this.#depthFor(target, value));
    } catch (error) {
      throw this.located(error);
    }
    if (typeof value === 'object') this.#requireAttached(target);
    return plain;
  }

  #refuse(why: string): unknown {
    return this.located(new PodError('ERR_POD_VALUE', `The change was refused and nothing was changed: ${why}.`));
  }

  /** The depth at which a member of `target` lies. Only objects can be too deep, so primitives do not pay for the search. */
  #depthFor(target: Container, value: unknown): number {
    if (typeof value !== 'object' || value === null) return 0;
    const depth = depthOf(this.root, target);
    return Math.min(depth + 1, DEPTH_MAX);
  }

  /** `value` is leaving the tree: its views, and those of everything below it, become detached. */
  #forget(value: unknown): void {
    if (this.#views === undefined || this.#views.size === 0) return;
    if (typeof value !== 'object' || value === null) return;
    this.#views.delete(value);
    for (const member of Object.values(value)) this.#forget(member);
  }

  #unwrap(plain: Container, receiver: unknown): Unwrapped | undefined {
    const view = plain === this.root ? this.#rootView : this.#views?.get(plain);
    if (view === undefined) throw this.detachedError();
    return view === receiver ? { handler: this, plain } : undefined;
  }

  /**
   * Runs one array method as one change. `prepare` refuses what can be refused and changes nothing; it returns the change,
   * or `{ unchanged }` with the method's result where there is nothing to do.
   */
  static changeArray<R>(view: unknown, prepare: (change: ArrayChange) => (() => R) | { unchanged: R }): R {
    const found = typeof view === 'object' && view !== null ? (view as { [UNWRAP]?: Unwrapped })[UNWRAP] : undefined;
    if (found === undefined || !Array.isArray(found.plain))
      throw new TypeError('This method needs the view of an array.');
    const { handler, plain } = found;
    const apply = prepare({
      plain,
      copyIn: (values) => values.map((value) => handler.#copyIn(plain, value)),
      forget: (value) => handler.#forget(value),
      views: () =>
        plain.map((item, index) =>
          typeof item === 'object' && item !== null ? handler.#memberView(plain, String(index), item) : item,
        ),
    });
    if (typeof apply !== 'function') {
      handler.requireChangeable();
      return apply.unchanged;
    }
    handler.beforeChange();
    const result = apply();
    handler.afterChange();
    return result;
  }
}

interface ArrayChange {
  readonly plain: unknown[];
  copyIn(values: readonly unknown[]): unknown[];
  forget(value: unknown): void;
  /** The elements as a caller may see them. */
  views(): unknown[];
}

type Method = (this: unknown, ...args: never[]) => unknown;

/**
 * The array methods that change an array, each as one change (all or nothing), by the native function they stand for.
 * Through bare traps `push` would be two changes, `unshift` would move every element through the proxy, and `fill` and
 * `copyWithin` would put one object in two places.
 */
const ARRAY_MUTATORS = new Map<unknown, Method>([
  [
    Array.prototype.push,
    function push(this: unknown, ...items: unknown[]): number {
      return TrackedValue.changeArray(this, ({ plain, copyIn }) => {
        if (items.length === 0) return { unchanged: plain.length };
        const copies = copyIn(items);
        return () => {
          for (const item of copies) plain.push(item);
          return plain.length;
        };
      });
    },
  ],
  [
    Array.prototype.unshift,
    function unshift(this: unknown, ...items: unknown[]): number {
      return TrackedValue.changeArray(this, ({ plain, copyIn }) => {
        if (items.length === 0) return { unchanged: plain.length };
        const copies = copyIn(items);
        return () => {
          plain.splice(0, 0, ...copies);
          return plain.length;
        };
      });
    },
  ],
  [
    Array.prototype.pop,
    function pop(this: unknown): unknown {
      return takeOut(this, (plain) => plain.pop());
    },
  ],
  [
    Array.prototype.shift,
    function shift(this: unknown): unknown {
      return takeOut(this, (plain) => plain.shift());
    },
  ],
  [
    Array.prototype.splice,
    function splice(this: unknown, ...args: [number?, number?, ...unknown[]]): unknown[] {
      return TrackedValue.changeArray(this, ({ plain, copyIn, forget }) => {
        const [start, deleteCount, ...items] = args;
        const copies = copyIn(items);
        const from = clampIndex(start ?? 0, plain.length);
        const count = args.length === 1 ? plain.length - from : Math.min(deleteCount ?? 0, plain.length - from);
        if (args.length === 0 || (copies.length === 0 && count <= 0)) return { unchanged: [] };
        return () => {
          const removed =
            args.length === 1 ? plain.splice(start ?? 0) : plain.splice(start ?? 0, deleteCount ?? 0, ...copies);
          for (const item of removed) forget(item);
          return removed;
        };
      });
    },
  ],
  [
    Array.prototype.reverse,
    function reverse(this: unknown): unknown {
      return TrackedValue.changeArray(this, ({ plain }) => {
        if (plain.length < 2) return { unchanged: this };
        return () => {
          plain.reverse();
          return this;
        };
      });
    },
  ],
  [
    Array.prototype.sort,
    function sort(this: unknown, compare?: (a: unknown, b: unknown) => number): unknown {
      return TrackedValue.changeArray(this, ({ plain, views }) => {
        // Sorted beside, so that a comparison that throws leaves everything as it was.
        const shown = views();
        const viewOf = new Map(plain.map((item, index) => [item, shown[index]]));
        const sorted = [...plain].sort(compare && ((a, b) => compare(viewOf.get(a), viewOf.get(b))));
        if (sorted.every((item, index) => item === plain[index])) return { unchanged: this };
        return () => {
          sorted.forEach((item, index) => {
            plain[index] = item;
          });
          return this;
        };
      });
    },
  ],
  [
    Array.prototype.fill,
    function fill(this: unknown, value: unknown, start?: number, end?: number): unknown {
      return TrackedValue.changeArray(this, ({ plain, copyIn, forget }) => {
        const from = clampIndex(start ?? 0, plain.length);
        const to = clampIndex(end ?? plain.length, plain.length);
        const copies = copyIn(Array.from({ length: Math.max(0, to - from) }, () => value));
        if (copies.length === 0) return { unchanged: this };
        return () => {
          copies.forEach((item, offset) => {
            forget(plain[from + offset]);
            plain[from + offset] = item;
          });
          return this;
        };
      });
    },
  ],
  [
    Array.prototype.copyWithin,
    function copyWithin(this: unknown, target: number, start: number, end?: number): unknown {
      return TrackedValue.changeArray(this, ({ plain, copyIn, forget }) => {
        const to = clampIndex(target, plain.length);
        const from = clampIndex(start, plain.length);
        const copies = copyIn(plain.slice(from, clampIndex(end ?? plain.length, plain.length)));
        if (copies.length === 0 || to >= plain.length) return { unchanged: this };
        return () => {
          copies.slice(0, plain.length - to).forEach((item, offset) => {
            forget(plain[to + offset]);
            plain[to + offset] = item;
          });
          return this;
        };
      });
    },
  ],
] as [unknown, Method][]);

function takeOut(view: unknown, take: (plain: unknown[]) => unknown): unknown {
  return TrackedValue.changeArray(view, ({ plain, forget }) => {
    if (plain.length === 0) return { unchanged: undefined };
    return () => {
      const item = take(plain);
      forget(item);
      return item;
    };
  });
}

/** A relative index as the array methods of the language take it. */
function clampIndex(index: number, length: number): number {
  const whole = Math.trunc(index) || 0;
  return whole < 0 ? Math.max(0, length + whole) : Math.min(whole, length);
}

/** How many containers lie above `target`, searched from the root; values are trees, so there is one answer. */
function depthOf(root: unknown, target: object): number {
  if (root === target) return 0;
  let level: object[] = [root as object];
  for (let depth = 1; level.length > 0; depth++) {
    const next: object[] = [];
    for (const container of level) {
      for (const member of Object.values(container)) {
        if (member === target) return depth;
        if (typeof member === 'object' && member !== null) next.push(member);
      }
    }
    level = next;
  }
  return DEPTH_MAX;
}
