/** Options of the app that do not fit each other or the broker. */
import { formatDuration, parseDuration } from '../../internal/duration.js'
import type { CommandContext } from '../with-app.js'
import { contentName } from './content-name.js'
import { area, type Finding } from './finding.js'

const finding = area('settings')
/** RabbitMQ's own. */
const defaultConsumerTimeoutSeconds = 1_800
const defaultVisibilitySeconds = 3_600

export function examineSettings(context: CommandContext, transport: string | undefined): readonly Finding[] {
  return [serializer(context), ...limits(context, transport)]
}

function serializer({ core: { config } }: CommandContext): Finding {
  const accepted = config.acceptContent.map(contentName)
  if (accepted.includes(contentName(config.taskSerializer)))
    return finding('serializer', 'fine', `tasks are sent as ${config.taskSerializer}, which this app accepts`)
  return finding(
    'serializer',
    'fault',
    `tasks are sent as ${config.taskSerializer}, and workers of this app accept ${accepted.join(', ')} only: none of them would run`,
    'Add it to acceptContent, or set taskSerializer to one of those',
  )
}

/** The longest that a task may hold its message, in seconds; undefined: there is no limit. */
export function longestTask({ core }: CommandContext): { readonly seconds: number; readonly of: string } | undefined {
  let longest = { seconds: core.config.taskTimeLimit ?? Number.POSITIVE_INFINITY, of: 'taskTimeLimit' }
  for (const name of core.registry.names()) {
    const { timeLimit } = core.registry.need(name).options
    const seconds = timeLimit === undefined || timeLimit === null ? undefined : parseDuration(timeLimit)
    if (seconds !== undefined && (longest.seconds === Number.POSITIVE_INFINITY || seconds > longest.seconds))
      longest = { seconds, of: name }
  }
  return longest.seconds === Number.POSITIVE_INFINITY ? undefined : longest
}

function limits(context: CommandContext, transport: string | undefined): readonly Finding[] {
  const longest = longestTask(context)
  const may = longest === undefined ? 'no task has a time limit' : `${longest.of} may run for ${formatDuration(longest.seconds)}`
  if (transport === 'amqp') {
    const about = 'consumer_timeout'
    if (longest !== undefined && longest.seconds < defaultConsumerTimeoutSeconds)
      return [finding(about, 'fine', `${may}, and RabbitMQ takes messages back after 30 minutes if its consumer_timeout was not changed`)]
    return [
      finding(
        about,
        'warning',
        `${may}. RabbitMQ takes a message back that is not acknowledged within its consumer_timeout, and the task runs again: 30 minutes, if it was not changed; it does not tell by AMQP`,
        'Set consumer_timeout in rabbitmq.conf above your longest task, give tasks a timeLimit below it, or acksLate: false to those that run longer',
      ),
    ]
  }
  if (transport !== 'redis') return []
  const visible = visibilitySeconds(context)
  if (longest === undefined || longest.seconds < visible)
    return [
      finding(
        'visibility timeout',
        'fine',
        `${formatDuration(visible)}; ${may}; workers of celeriac hold messages for as long as they live`,
      ),
    ]
  return [
    finding(
      'visibility timeout',
      'warning',
      `${may}, and the visibility timeout is ${formatDuration(visible)}: a Python worker that runs it loses its message to others, and it runs twice`,
      'Raise brokerTransportOptions.visibilityTimeout (and broker_transport_options["visibility_timeout"] of Python workers) above it',
    ),
  ]
}

export function visibilitySeconds({ core: { config } }: CommandContext): number {
  const { visibilityTimeout, visibility_timeout: spelled } = config.brokerTransportOptions
  return parseDuration(visibilityTimeout ?? spelled) ?? defaultVisibilitySeconds
}
