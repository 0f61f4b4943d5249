/** What came of a task, as a graph: the tasks before it, and all that it and they have sent, with their states. */
import type { AsyncResult } from '../../canvas/handles.js'
import type { State } from '../../protocol/result.js'
import type { Edge, Graph, Node } from './dot.js'

/** So many tasks are drawn; a picture of more shows nothing. */
const mostTasks = 1_000

const colors: Readonly<Partial<Record<State, string>>> = {
  SUCCESS: 'palegreen',
  FAILURE: 'salmon',
  REVOKED: 'lightgrey',
  RETRY: 'khaki',
  STARTED: 'lightblue',
}

export async function resultGraph(result: AsyncResult<unknown>): Promise<Graph> {
  const nodes = new Map<string, Node>()
  const edges: Edge[] = []
  const waiting: AsyncResult<unknown>[] = [result]
  for (let before = result.parent; before !== null; before = before.parent) waiting.push(before)
  for (let next = waiting.shift(); next !== undefined && nodes.size < mostTasks; next = waiting.shift()) {
    const { id } = next
    if (nodes.has(id)) continue
    const isGroup = 'results' in next
    // A group has no state of its own that is stored.
    const state = isGroup ? undefined : await next.state()
    nodes.set(id, {
      id,
      label: isGroup ? `group\n${id}` : `${state}\n${id}`,
      ...(isGroup ? { shape: 'ellipse' } : {}),
      ...(state === undefined || colors[state] === undefined ? {} : { color: colors[state] }),
    })
    for (const child of await next.children()) {
      edges.push({ from: id, to: child.id })
      waiting.push(child)
    }
  }
  return { name: result.id, nodes: [...nodes.values()], edges: edges.filter(({ to }) => nodes.has(to)) }
}
