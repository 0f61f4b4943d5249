import type { AmqpLink } from '../../internal/amqp/link.js'
import type { Examination, ServerFinding } from '../../internal/examination.js'

/** What a server of AMQP tells those who connect. Its settings it tells only to its management. */
export function examineLink({ product, version, heartbeat }: Pick<AmqpLink, 'product' | 'version' | 'heartbeat'>): Examination {
  const isRabbit = product === 'RabbitMQ'
  return {
    server: isRabbit ? `RabbitMQ ${Math.floor(version / 100)}.${version % 100}` : product,
    findings: [
      isRabbit && version < 313
        ? {
            about: 'version',
            level: 'warning',
            evidence: `RabbitMQ ${Math.floor(version / 100)}.${version % 100} gets no security updates any more`,
            fix: 'Upgrade to RabbitMQ 4',
          }
        : { about: 'version', level: 'fine', evidence: `${product}: nothing that celeriac needs is missing` },
      heartbeats(heartbeat),
    ],
    clockAheadMs: undefined,
  }
}

function heartbeats(seconds: number): ServerFinding {
  const about = 'heartbeat'
  if (seconds > 0) return { about, level: 'fine', evidence: `every ${seconds} s: a connection that is cut is noticed` }
  return {
    about,
    level: 'warning',
    evidence: 'heartbeats are off: a connection that is cut without a word is noticed late by both sides',
    fix: 'Set heartbeat in rabbitmq.conf to 60',
  }
}
