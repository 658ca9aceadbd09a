/**
 * What a client is to the owner while it is connected: what it asked, what waits, and where its answers go.
 */
import type { PodError } from '../core/errors.ts';
import { CursorDesk } from './pages.ts';
import type { Question } from './protocol.ts';

/** Where the answers for a client go. */
export interface Outlet {
  /** The client lives in this process, so it is not watched. */
  readonly isLocal: boolean;
  send(json: string): void;
  /** Reads nothing more until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends the connection, telling why. */
  cut(error: PodError): void;
}

/** What a client is to the owner while it is connected. */
export class Session {
  readonly client: string;
  readonly outlet: Outlet;
  readonly cursors: CursorDesk = new CursorDesk();
  /** Questions that were not looked at yet. */
  queue: Question[] = [];
  /** Questions that wait for something to happen. */
  readonly parked: Map<number, Question> = new Map();
  isPaused: boolean = false;
  /** On the lease clock. */
  heardMs: number;
  holds: number = 0;
  answers: string[] = [];
  answersLength: number = 0;

  constructor(client: string, outlet: Outlet, heardMs: number) {
    this.client = client;
    this.outlet = outlet;
    this.heardMs = heardMs;
  }
}
