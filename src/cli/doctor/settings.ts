/** Options of the app that do not fit each other or the broker. */
import type { CommandContext } from '../with-app.js'
import { contentName } from './content-name.js'
import { area, type Finding } from './finding.js'
import { consumerTimeout, visibilityTimeout } from './time-limits.js'

const finding = area('settings')

export function examineSettings(context: CommandContext, transport: string | undefined): readonly Finding[] {
  return [serializer(context), ...ofBroker(context, transport)]
}

function ofBroker(context: CommandContext, transport: string | undefined): readonly Finding[] {
  if (transport === 'amqp') return [persistence(context), consumerTimeout(context)]
  return transport === 'redis' ? [visibilityTimeout(context)] : []
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

/** What RabbitMQ keeps is the choice of those who send. */
function persistence({ core: { config, routes } }: CommandContext): Finding {
  const about = 'persistence'
  const lost = [
    ...(config.taskDefaultDeliveryMode === 1 ? ['messages are transient (taskDefaultDeliveryMode)'] : []),
    ...(config.brokerTransportOptions.confirmPublish === false || config.brokerTransportOptions.confirm_publish === false
      ? ['publishes are not confirmed (confirmPublish)']
      : []),
    ...routes
      .defaultQueues()
      .flatMap((name) => routes.workerTopology(name).queues)
      .filter(({ durable }) => !durable)
      .map(({ name }) => `the queue ${name} is not durable`),
  ]
  if (lost.length === 0) return finding(about, 'fine', 'queues are durable, messages persistent, and publishes confirmed')
  return finding(
    about,
    'warning',
    `${lost.join(', ')}: tasks are lost when the server is restarted`,
    'Leave these options at their defaults, but for tasks that may be lost',
  )
}
