import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type EngineOptions, openQuantizeSource } from "@kvant/engine";
import { type OutlierTwinOptions, writeOutlierTwin } from "@kvant/quantizers";

export interface QualityTwinOptions extends Pick<OutlierTwinOptions, "factor" | "channelCount" | "seed"> {
  readonly source: EngineOptions;
  /** Where twins lie, each in a folder of its own. */
  readonly folder: string;
}

export interface QualityTwin {
  readonly model: string;
  /** That were multiplied, ascending; undefined for a twin that was there already. */
  readonly channels: readonly number[] | undefined;
}

/**
 * A twin of a model with planted activation outliers (`writeOutlierTwin`). Its folder is named after all that it is made of, so
 * that checkpoints of one twin are never taken for those of another; a twin that is there is not written again.
 * @throws KvantError as `openQuantizeSource` and `writeOutlierTwin` do
 */
export function qualityTwin({ source, folder, ...planted }: QualityTwinOptions): QualityTwin {
  const model = join(folder, twinName(source.model, planted));
  // A checkpoint appears by one rename, so what is there is whole.
  if (existsSync(model)) return { model, channels: undefined };
  const opened = openQuantizeSource(source);
  try {
    return { model, channels: writeOutlierTwin({ ...opened, ...planted, out: model }) };
  } finally {
    opened.close();
  }
}

function twinName(
  source: string,
  { factor, channelCount, seed }: Omit<QualityTwinOptions, "source" | "folder">,
): string {
  const path = resolve(source);
  // Two models may have the same last name.
  const place = createHash("sha256").update(path).digest("hex").slice(0, 8);
  return `twin-${basename(path)}-${place}-times-${factor}-channels-${channelCount}-seed-${seed}`;
}
