import type { Config } from '../app/config.js'
import type { Attributes } from './otel-api.js'

/** The broker's name in the conventions of OpenTelemetry. */
export function messagingSystem({ brokerUrl: [broker] }: Pick<Config, 'brokerUrl'>): string {
  if (typeof broker !== 'string') return 'redis'
  if (/^(py)?amqps?:/i.test(broker)) return 'rabbitmq'
  return /^(rediss?|sentinel|valkeys?)(\+\w+)?:/i.test(broker) ? 'redis' : 'celery'
}

const ports: Readonly<Record<string, number>> = {
  'amqp:': 5672,
  'pyamqp:': 5672,
  'amqps:': 5671,
  'redis:': 6379,
  'rediss:': 6379,
  'valkey:': 6379,
  'valkeys:': 6379,
}

/** The server, where there is one and no other could be meant. */
export function serverOf({ brokerUrl: [broker, ...others] }: Pick<Config, 'brokerUrl'>): Attributes {
  if (typeof broker !== 'string' || others.length > 0 || !URL.canParse(broker)) return {}
  const { protocol, hostname, port } = new URL(broker)
  const usual = ports[protocol]
  return usual === undefined || hostname === '' ? {} : { 'server.address': hostname, 'server.port': port === '' ? usual : Number(port) }
}
