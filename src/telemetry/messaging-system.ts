import type { Config } from '../app/config.js'

/** The broker's name in the conventions of OpenTelemetry. */
export function messagingSystem({ brokerUrl: [broker] }: Pick<Config, 'brokerUrl'>): string {
  if (typeof broker !== 'string') return 'redis'
  if (/^(py)?amqps?:/i.test(broker)) return 'rabbitmq'
  return /^(rediss?|sentinel|valkeys?)(\+\w+)?:/i.test(broker) ? 'redis' : 'celery'
}
