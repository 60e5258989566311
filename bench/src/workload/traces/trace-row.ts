/** One request of a trace that somebody's servers took. */
export interface TraceRow {
  /** Of the file, from 1. */
  readonly line: number;
  /** By the trace's own clock. */
  readonly seconds: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Of the prompt's pieces of `hashedPieceTokens` tokens, the last one short: equal ids were equal text. */
  readonly hashIds?: readonly number[];
}

/** Tokens that one of Mooncake's `hash_ids` stands for. */
export const hashedPieceTokens = 512;

/** A format of traces: recognized by its first line, read line by line. */
export interface TraceFormat {
  readonly name: string;
  /**
   * @returns undefined where the first line is not of this format
   * @throws KvantError for a first line that is of it and lacks something
   */
  readonly open: (firstLine: string) => TraceReader | undefined;
}

export interface TraceReader {
  /** The first line says what the columns are, and is no row. */
  readonly hasHeader: boolean;
  /** @throws KvantError INVALID_ARGUMENT that begins with `where` for what cannot be read */
  readonly row: (text: string, where: string) => Omit<TraceRow, "line">;
}
