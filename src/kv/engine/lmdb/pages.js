// @ts-check
/**
 * What lies where in the database's file.
 * @typedef {object} Pages
 * @property {number[]} familyBytes of pages in use, by place in FAMILIES
 * @property {number} freeBytes of pages that are free to be written again
 */

/** @typedef {{ pageSize: number, treeBranchPageCount: number, treeLeafPageCount: number, overflowPages: number }} Tree */
/** @typedef {Tree & { lastPageNumber: number, root: Tree, free: Tree }} Stats */

/** Pages that name the others. */
const META_PAGES = 2

/**
 * @param {import('lmdb').RootDatabase} environment
 * @param {readonly import('lmdb').Database[]} databases of the families
 * @returns {Pages}
 */
export function readPages(environment, databases) {
  const { pageSize, lastPageNumber, root, free } = /** @type {Stats} */ (environment.getStats())
  const families = databases.map((database) => used(/** @type {Tree} */ (database.getStats())) * pageSize)
  const others = (lastPageNumber + 1 - META_PAGES - used(root) - used(free)) * pageSize
  return { familyBytes: families, freeBytes: Math.max(0, others - families.reduce((sum, bytes) => sum + bytes, 0)) }
}

/** @param {Tree} tree */
function used({ treeBranchPageCount, treeLeafPageCount, overflowPages }) {
  return treeBranchPageCount + treeLeafPageCount + overflowPages
}
