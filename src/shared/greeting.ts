/**
 * How the two ends of a channel greet each other: each says its version and proves that it knows the secret, without saying it.
 *
 * The owner speaks first: `{ everpod, protocol, nonce }`. The client answers with its own nonce and a proof over both; the owner with
 * its proof and what it serves. Nonces make a recording of either useless (reliability 4.5).
 */
import { Buffer } from 'node:buffer';
import { createHmac, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { PodError } from '../core/errors.ts';
import { PROTOCOL_VERSION, protocolError } from './protocol.ts';

/** What a client says of itself. */
export interface ClientGreeting {
  readonly protocol: number;
  readonly nonce: string;
  readonly proof: string;
  /** Who it is, over all its connections. */
  readonly client: string;
  readonly pid: number;
  readonly kind: 'pod' | 'tracker';
  /** How often it holds the pod. */
  readonly holds: number;
}

/** What the owner says of itself. */
export interface Welcome {
  /** Left out in the owner's own process. */
  readonly proof?: string | undefined;
  /** The owner knows of everything that this client asked for before and that took effect. */
  readonly resumed: boolean;
  /** The client has the lock. */
  readonly hasLock: boolean;
  /** The client is to let hear of itself more often than this. */
  readonly leaseMs: number;
  /** So many questions of one client may wait. */
  readonly questions: number;
  readonly frameBytes: number;
  /** The process that is the owner. */
  readonly pid: number;
}

const hex = z.string().regex(/^[0-9a-f]{32,64}$/);
const helloSchema = z.object({ everpod: z.literal('shared'), protocol: z.number().int(), nonce: hex });
const clientSchema: z.ZodType<ClientGreeting> = z.object({
  protocol: z.number().int(),
  nonce: hex,
  proof: hex,
  client: hex,
  pid: z.number().int().positive(),
  kind: z.enum(['pod', 'tracker']),
  holds: z.number().int().min(0).max(1_000_000),
});
const welcomeSchema: z.ZodType<Welcome> = z.object({
  proof: hex.optional(),
  resumed: z.boolean(),
  hasLock: z.boolean(),
  leaseMs: z.number().positive(),
  questions: z.number().int().positive(),
  frameBytes: z.number().int().positive(),
  pid: z.number().int().positive(),
});
const refusalSchema = z.object({ refused: z.object({ code: z.string(), message: z.string() }) });

export function helloOf(nonce: string): object {
  return { everpod: 'shared', protocol: PROTOCOL_VERSION, nonce };
}

/** What proves that an end knows the token. */
export function proofOf(token: string, end: 'client' | 'owner', ownerNonce: string, clientNonce: string): string {
  return createHmac('sha256', token).update(`everpod ${end} ${ownerNonce} ${clientNonce}`).digest('hex');
}

export function isProof(given: string, expected: string): boolean {
  return given.length === expected.length && timingSafeEqual(Buffer.from(given), Buffer.from(expected));
}

/** @throws {PodError} `ERR_POD_PROTOCOL` */
export function parseHello(frame: unknown): { nonce: string } {
  const hello = helloSchema.safeParse(frame).data;
  if (hello === undefined) throw protocolError('it does not greet as an owner of everpod does');
  requireVersion(hello.protocol);
  return hello;
}

/** @throws {PodError} `ERR_POD_PROTOCOL` */
export function parseClientGreeting(frame: unknown): ClientGreeting {
  const version = z.object({ protocol: z.number() }).safeParse(frame).data?.protocol;
  if (version !== undefined) requireVersion(version);
  const greeting = clientSchema.safeParse(frame).data;
  if (greeting === undefined) throw protocolError('it does not greet as a client of everpod does');
  return greeting;
}

/** @throws {PodError} what the owner refused it with, or `ERR_POD_PROTOCOL` */
export function parseWelcome(frame: unknown): Welcome {
  const refusal = refusalSchema.safeParse(frame).data;
  if (refusal !== undefined) throw new PodError(refusal.refused.code as PodError['code'], refusal.refused.message);
  const welcome = welcomeSchema.safeParse(frame).data;
  if (welcome === undefined) throw protocolError('it does not welcome as an owner of everpod does');
  return welcome;
}

function requireVersion(version: number): void {
  if (version === PROTOCOL_VERSION) return;
  throw new PodError(
    'ERR_POD_PROTOCOL',
    `The other end speaks version ${version} of the protocol of shared pods, this one version ${PROTOCOL_VERSION}. ` +
      'Run the same version of everpod in all processes that share a folder.',
    { info: { theirs: version, ours: PROTOCOL_VERSION } },
  );
}
