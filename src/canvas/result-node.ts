import type { ResultTuple } from '../protocol/result.js'

/** A handle to be: parents are linked while a canvas is read from its end to its beginning. */
export interface ResultNode {
  readonly id: string
  parent: ResultNode | null
  /** Null: one task. */
  readonly members: readonly ResultNode[] | null
}

export function resultNode(id: string, members: readonly ResultNode[] | null = null): ResultNode {
  return { id, parent: null, members }
}

/** The result that everything before this one hangs on. */
export function oldest(node: ResultNode): ResultNode {
  let found = node
  while (found.parent !== null) found = found.parent
  return found
}

/** A loop along the parents: a chain may have thousands of them. */
export function toTuple(node: ResultNode): ResultTuple {
  if (node.parent === null && node.members === null) return [[node.id, null], null]
  const line: ResultNode[] = []
  for (let at: ResultNode | null = node; at !== null; at = at.parent) line.push(at)
  let tuple: ResultTuple | null = null
  for (const { id, members } of line.reverse()) tuple = [[id, tuple], members === null ? null : members.map(toTuple)]
  // The line has at least the node itself.
  return tuple as ResultTuple
}
