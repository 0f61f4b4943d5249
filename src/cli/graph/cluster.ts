/** What runs, as graphs: which workers there are, and which way tasks go to them. */
import type { Celeriac } from '../../app/app.js'
import type { AppCore } from '../../app/core.js'
import { showAddress } from '../../internal/address.js'
import { isRecord } from '../../protocol/plain.js'
import type { Edge, Graph, Node } from './dot.js'

interface Source {
  readonly app: Celeriac
  readonly core: AppCore
}

/** As `celery graph workers`: the workers that answer, the size of their pools, their broker and where results go. */
export async function workersGraph({ app, core: { config } }: Source): Promise<Graph> {
  const nodes: Node[] = [
    { id: 'broker', label: config.brokerUrl.map(showAddress).join('\n'), shape: 'ellipse', color: 'lightblue' },
    {
      id: 'results',
      label: config.resultBackend === 'disabled' ? 'no results' : showAddress(config.resultBackend),
      shape: 'folder',
      color: 'wheat',
    },
  ]
  const edges: Edge[] = []
  for (const [worker, stats] of Object.entries(await app.control.inspect().stats()).sort()) {
    const pool: unknown = isRecord(stats) ? stats.pool : undefined
    const size = isRecord(pool) ? Number(pool['max-concurrency']) : Number.NaN
    nodes.push({ id: `worker ${worker}`, label: Number.isFinite(size) ? `${worker}\n${size} at a time` : worker })
    edges.push({ from: 'broker', to: `worker ${worker}` }, { from: `worker ${worker}`, to: 'results' })
  }
  return { name: 'workers', nodes, edges }
}

/** Which queue each task of the app goes to when its call does not say, and who takes from it. */
export async function routesGraph({ app, core }: Source): Promise<Graph> {
  const nodes: Node[] = []
  const edges: Edge[] = []
  const queues = new Set<string>(core.routes.defaultQueues())
  const exchanges = new Map<string, { readonly task: string; readonly routingKey: string }[]>()
  for (const task of [...app.taskNames].sort()) {
    const { queue: own, routingKey } = core.registry.need(task).options
    const { queue, to } = core.routes.route({ task, args: [], kwargs: {}, queue: own, routingKey })
    nodes.push({ id: `task ${task}`, label: task })
    if (queue !== undefined) queues.add(queue)
    else exchanges.set(to.exchange, [...(exchanges.get(to.exchange) ?? []), { task, routingKey: to.routingKey }])
    if (queue !== undefined) edges.push({ from: `task ${task}`, to: `queue ${queue}` })
  }
  for (const [exchange, calls] of exchanges) {
    nodes.push({ id: `exchange ${exchange}`, label: exchange, shape: 'diamond', color: 'wheat' })
    for (const { task, routingKey } of calls) edges.push({ from: `task ${task}`, to: `exchange ${exchange}`, label: routingKey })
    for (const queue of core.routes.queuesAt(exchange)) edges.push({ from: `exchange ${exchange}`, to: `queue ${queue}` })
  }
  for (const [worker, taken] of Object.entries(await app.control.inspect().activeQueues()).sort()) {
    nodes.push({ id: `worker ${worker}`, label: worker, shape: 'ellipse', color: 'lightblue' })
    for (const { name } of Array.isArray(taken) ? taken : []) {
      queues.add(String(name))
      edges.push({ from: `queue ${name}`, to: `worker ${worker}` })
    }
  }
  return {
    name: 'routes',
    nodes: [...nodes, ...[...queues].map((name): Node => ({ id: `queue ${name}`, label: name, shape: 'cds', color: 'wheat' }))],
    edges,
  }
}
