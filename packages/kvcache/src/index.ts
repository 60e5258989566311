export { type PageLayout, type PageSpec, pageLayout } from "@kvant/formats";
export { ArrayPages, type ArrayPagesOptions, type StaticScales } from "./array-pages.ts";
export {
  type Admission,
  type AdmitOptions,
  type Extension,
  type Fork,
  KvManager,
  type KvManagerOptions,
  type KvStats,
} from "./kv-manager.ts";
export type { LayerGroupSpec } from "./layer-group.ts";
export { bytesForTokens, capacityTokens, pagesForBytes } from "./page-capacity.ts";
export { nullPage, type PageId } from "./page-id.ts";
export { KeyChain, type PageKey, pageKey, rootKey } from "./page-key.ts";
export { type PageCounts, PagePool } from "./page-pool.ts";
export { PrefixIndex } from "./prefix-index.ts";
export type { PageAppend, PageCopy, SequenceId } from "./sequence-table.ts";
