declare const pageIdBrand: unique symbol;

/** The number of one page of one layer group, `0 <= id < pageCount`. Only a `PagePool` makes them. */
export type PageId = number & { readonly [pageIdBrand]: true };

/**
 * Page 0 is never handed out. A table entry that holds no page (not yet cached, or already out of a sliding window) is 0,
 * so padded and stale entries of a device table always name memory that exists and that nobody reads.
 */
export const nullPage = 0 as PageId;
