export { type PageLayout, type PageSpec, pageLayout } from "@kvant/formats";
export type {
  Admission,
  AdmitOptions,
  Extension,
  Fork,
  KvManagerOptions,
  KvStats,
  SwapIn,
} from "./answers.ts";
export { ArrayPages, type ArrayPagesOptions, type StaticScales } from "./array-pages.ts";
export type { HostPageCounts, HostPageId } from "./host-pool.ts";
export { KvManager } from "./kv-manager.ts";
export type { LayerGroupSpec } from "./layer-group.ts";
export { bytesForTokens, capacityTokens, pagesForBytes } from "./page-capacity.ts";
export { nullPage, type PageId } from "./page-id.ts";
export { KeyChain, type PageKey, pageKey, rootKey } from "./page-key.ts";
export { type PageCounts, PagePool } from "./page-pool.ts";
export { PrefixIndex } from "./prefix-index.ts";
export type { PageAppend, PageCopy, PageSwap, SequenceId } from "./sequence-table.ts";
