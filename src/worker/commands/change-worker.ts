import { InvalidMessageError, show } from '../../errors.js'
import type { ExchangeType } from '../../protocol/topology.js'
import type { CommandHandler, Panel } from '../panel.js'
import { name, optionalName, wholeNumber } from './arguments.js'

const byAutoscaler = (command: string): { readonly error: string } => ({
  error: `${command} is not supported with autoscale. Adjust autoscale range instead.`,
})

function needsSize({ pool }: Panel): void {
  if (!pool.supports.resize) throw new InvalidMessageError(`the ${pool.name} pool runs one task at a time: its size cannot be changed`)
}

/** More than any machine runs: mistyped, or meant ill. */
const mostChildren = 1_000
const mostPlaces = 100_000

function sizeFor({ pool }: Panel, size: number): number {
  const most = pool.supports.ownLoop ? mostChildren : mostPlaces
  if (size > most) throw new InvalidMessageError(`expected a pool of ${most} at most, got: ${size}`)
  return size
}

/** The answer does not wait for processes to start. */
export const pool_grow: CommandHandler = (panel, { n }) => {
  if (panel.autoscaler !== undefined) return byAutoscaler('pool_grow')
  needsSize(panel)
  void panel.resizePool(sizeFor(panel, panel.pool.size + wholeNumber(n ?? 1, 'n', 0)))
  return { ok: 'pool will grow' }
}

export const pool_shrink: CommandHandler = (panel, { n }) => {
  if (panel.autoscaler !== undefined) return byAutoscaler('pool_shrink')
  needsSize(panel)
  // One remains in any case.
  void panel.resizePool(Math.max(1, panel.pool.size - wholeNumber(n ?? 1, 'n', 0)))
  return { ok: 'pool will shrink' }
}

/** Celery's `modules` and `reload`, which have a worker load code by name, are refused: its processes load what the app's file imports. */
export const pool_restart: CommandHandler = ({ pool, core }, { modules, reload }) => {
  if ((Array.isArray(modules) && modules.length > 0) || reload === true)
    throw new InvalidMessageError('expected neither modules nor reload: processes that start anew load the app, and nothing by its name')
  if (pool.restart === undefined)
    throw new InvalidMessageError(`the ${pool.name} pool runs tasks in the worker's own process: there is nothing to restart`)
  pool.restart().catch((error: unknown) => core.log.error({ err: error }, 'the pool could not be restarted'))
  return { ok: 'reload started' }
}

export const autoscale: CommandHandler = (panel, { max, min }) => {
  const { autoscaler } = panel
  if (autoscaler === undefined) return { error: "ValueError('Autoscale not enabled')" }
  const bound = (value: unknown, argument: string): number | undefined =>
    value === undefined || value === null ? undefined : sizeFor(panel, wholeNumber(value, argument, 1))
  const bounds = autoscaler.update({ max: bound(max, 'max'), min: bound(min, 'min') })
  return { ok: `autoscale now max=${bounds.max} min=${bounds.min}` }
}

const exchangeTypes: readonly ExchangeType[] = ['direct', 'topic', 'fanout', 'headers']

/** The answer comes when the worker takes tasks from the queue. */
export const add_consumer: CommandHandler = async ({ core, queues }, { queue, exchange, exchange_type: type, routing_key: key }) => {
  const queueName = name(queue, 'queue')
  const known = core.routes.workerTopology(queueName)
  const [ownExchange] = known.exchanges
  const [ownQueue] = known.queues
  const exchangeType = optionalName(type, 'exchange_type') ?? ownExchange?.type ?? 'direct'
  if (!exchangeTypes.some((one) => one === exchangeType))
    throw new InvalidMessageError(`expected exchange_type to be one of ${exchangeTypes.join(', ')}, got: ${show(type)}`)
  const exchangeName = optionalName(exchange, 'exchange') ?? ownExchange?.name ?? queueName
  const routingKey = optionalName(key, 'routing_key') ?? ownQueue?.bindings[0]?.routingKey ?? queueName
  await queues.add(queueName, {
    // One of exchangeTypes, checked above.
    exchanges: known.exchanges.map((one) => ({ ...one, name: exchangeName, type: exchangeType as ExchangeType })),
    queues: known.queues.map((one) => ({ ...one, bindings: [{ exchange: exchangeName, routingKey }] })),
  })
  core.log.info({ queue: queueName }, `Started consuming from ${queueName}`)
  return { ok: `add consumer ${queueName}` }
}

export const cancel_consumer: CommandHandler = async ({ core, queues }, { queue }) => {
  const queueName = name(queue, 'queue')
  if (queues.names.includes(queueName)) {
    await queues.cancel(queueName)
    core.log.info({ queue: queueName }, `No longer consuming from ${queueName}`)
  }
  return { ok: `no longer consuming from ${queueName}` }
}

/** The answer comes when nothing of the queue will start here any more. Paused is not cancelled: the queue stays one of this worker's. */
export const pause_queue: CommandHandler = async (panel, { queue }) => {
  const queueName = name(queue, 'queue')
  const isNews = await panel.queues.pause(queueName)
  if (!panel.queues.names.includes(queueName)) return { ok: `${queueName} is none of this worker's queues` }
  panel.giveBack((task) => panel.queues.isPaused(task.delivery.queue))
  if (isNews) panel.core.log.info({ queue: queueName }, `Queue ${queueName} is paused`)
  return { ok: `${queueName} is paused` }
}

export const resume_queue: CommandHandler = async ({ core, queues }, { queue }) => {
  const queueName = name(queue, 'queue')
  const isNews = await queues.resume(queueName)
  if (!queues.names.includes(queueName)) return { ok: `${queueName} is none of this worker's queues` }
  if (isNews) core.log.info({ queue: queueName }, `Queue ${queueName} is resumed`)
  return { ok: `taking from ${queueName}` }
}

/** The only command that nobody answers. */
export const shutdown: CommandHandler = ({ core, stop }, { msg }) => {
  core.log.warn({}, typeof msg === 'string' ? msg : 'Got shutdown from remote')
  stop()
  return noReply
}

/** What a handler gives for which no answer is sent. */
export const noReply: unique symbol = Symbol('no reply')
