/** Reads the body of a response, but never more of it than was asked for. */

export interface Body {
  readonly bytes: Buffer;
  /** True if there was more. */
  readonly isCut: boolean;
}

/** Counts what arrives, since the length that a server announces need not be true. */
export async function readBody(response: Response, maxBytes: number): Promise<Body> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop early cancels the stream and with it the download.
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) return { bytes: Buffer.concat(chunks).subarray(0, maxBytes), isCut: true };
  }
  return { bytes: Buffer.concat(chunks), isCut: false };
}
