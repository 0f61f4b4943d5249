import { withoutRabbit } from '../rabbit.js'
import { AmqpBroker, type QueueType } from './amqp-broker.js'
import { type FaultTest, faultTestOn } from './fault-test.js'

export interface AmqpRow {
  readonly type: QueueType
  /** Seconds; by default many. */
  readonly heartbeat?: number
}

/** Rows on the virtual host that `url` leads to when they run. One after the other: they share its queues. */
export function amqpTestAt(url: () => string): FaultTest<AmqpBroker, AmqpRow> {
  const onAmqp = faultTestOn('rabbitmq', (folder, { type, heartbeat }: AmqpRow) => AmqpBroker.open(folder, url(), type, heartbeat))
  const missing = withoutRabbit()
  return (row, body) => {
    const variant = row.variant === undefined ? row.type : `${row.type}, ${row.variant}`
    onAmqp({ ...row, variant, skip: missing === false ? row.skip : missing }, body)
  }
}

export const queueTypes = ['classic', 'quorum'] as const
