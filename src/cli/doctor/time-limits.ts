/** How long tasks may run, against how long the broker lets a worker keep a message. */
import { formatDuration, parseDuration } from '../../internal/duration.js'
import { safeText } from '../../internal/safe-text.js'
import type { CommandContext } from '../with-app.js'
import { area, type Finding } from './finding.js'

const finding = area('settings')
/** RabbitMQ's own. */
const defaultConsumerTimeout = 1_800
const defaultVisibilityTimeout = 3_600

export function consumerTimeout(context: CommandContext): Finding {
  const about = 'consumer_timeout'
  const longest = longestTask(context)
  const { seconds, of } = shortestTimeout(context)
  if (longest.seconds < seconds) return finding(about, 'fine', `${longest.says}, and RabbitMQ takes messages back after ${of}`)
  return finding(
    about,
    'warning',
    `${longest.says}. RabbitMQ takes a message back that is not acknowledged within its consumer_timeout, and the task runs again: after ${of}`,
    'Set consumer_timeout in rabbitmq.conf above your longest task, give tasks a timeLimit below it, or acksLate: false to those that run longer',
  )
}

/** Of the server, or of a queue that was declared with a shorter one. */
function shortestTimeout({ core: { config, routes } }: CommandContext): { readonly seconds: number; readonly of: string } {
  const { consumerTimeout: ours, consumer_timeout: spelled } = config.brokerTransportOptions
  const told = parseDuration(ours ?? spelled)
  const server = told ?? defaultConsumerTimeout
  const word = formatDuration(server)
  let shortest = {
    seconds: server,
    of:
      told === undefined
        ? `${word} if that was not changed, which it does not tell by AMQP: on its machine, rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).' shows it in ms; brokerTransportOptions.consumerTimeout tells me`
        : `${word} (brokerTransportOptions.consumerTimeout)`,
  }
  for (const queue of routes.defaultQueues().flatMap((name) => routes.workerTopology(name).queues)) {
    const ms = queue.arguments['x-consumer-timeout']
    if (typeof ms !== 'number' || ms / 1000 >= shortest.seconds) continue
    shortest = { seconds: ms / 1000, of: `${formatDuration(ms / 1000)} (x-consumer-timeout of the queue ${safeText(queue.name)})` }
  }
  return shortest
}

export function visibilityTimeout(context: CommandContext): Finding {
  const about = 'visibility timeout'
  const visible = visibilitySeconds(context)
  const longest = longestTask(context)
  if (longest.seconds < visible)
    return finding(about, 'fine', `${formatDuration(visible)}; ${longest.says}; workers of celeriac hold messages for as long as they live`)
  return finding(
    about,
    'warning',
    `${longest.says}, and the visibility timeout is ${formatDuration(visible)}: a Python worker that runs it loses its message to others, and it runs twice`,
    'Raise brokerTransportOptions.visibilityTimeout (and broker_transport_options["visibility_timeout"] of Python workers) above it',
  )
}

export function visibilitySeconds({ core: { config } }: CommandContext): number {
  const { visibilityTimeout: ours, visibility_timeout: spelled } = config.brokerTransportOptions
  return parseDuration(ours ?? spelled) ?? defaultVisibilityTimeout
}

/** Of the tasks that hold their message while they run. */
function longestTask({ core: { config, registry } }: CommandContext): { readonly seconds: number; readonly says: string } {
  let longest: { readonly seconds: number; readonly says: string } | undefined
  for (const name of registry.names()) {
    const { timeLimit, acksLate = config.taskAcksLate } = registry.need(name).options
    if (!acksLate || name.startsWith('celery.')) continue
    const seconds = (timeLimit === undefined ? config.taskTimeLimit : parseDuration(timeLimit)) ?? Number.POSITIVE_INFINITY
    if (longest !== undefined && seconds <= longest.seconds) continue
    const shown = safeText(name)
    const says = seconds === Number.POSITIVE_INFINITY ? `${shown} has no time limit` : `${shown} may run for ${formatDuration(seconds)}`
    longest = { seconds, says }
  }
  return longest ?? { seconds: 0, says: 'no task of this app holds its message while it runs' }
}
