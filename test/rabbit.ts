/** The RabbitMQ node that the test files of a run share. Tests that kill, stop or fill a node start one of their own: `startRabbit` of scripts/services. */
import amqplib from 'amqplib'
import { inject } from 'vitest'
import { needs } from '../scripts/needs.mjs'
import type { Question } from './shared-servers.js'

/** For `describe.skipIf(withoutRabbit())`: why tests on RabbitMQ cannot run here, false when they can. In CI they must run. */
export function withoutRabbit(): string | false {
  if (needs.rabbitmq?.find() !== undefined) return false
  const reason = 'there is no rabbitmq-server: run node scripts/install.mjs --test'
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(reason)
  return reason
}

export interface VirtualHost {
  /** `amqp://guest:guest@127.0.0.1:12345/v0` */
  readonly url: string
  readonly name: string
  /** `rabbitmqctl` on the node, and what it printed; takes about two seconds. */
  ctl(...args: readonly string[]): Promise<string>
}

/** An empty virtual host that nobody else uses. The first in a run starts the node: give a `beforeAll` that asks a minute. */
export async function virtualHost(): Promise<VirtualHost> {
  const { url, name } = (await ask({ ask: 'vhost' })) as { url: string; name: string } // test/shared-servers.ts answers
  return { url, name, ctl: async (...args) => String(await ask({ ask: 'ctl', args })) }
}

/** A connection past every driver. What goes wrong with it or its channels is told by what is asked of them, and nowhere else. */
export async function lookInto(url: string): Promise<amqplib.ChannelModel> {
  const connection = await amqplib.connect(url)
  connection.on('error', () => {})
  const [channel, confirmChannel] = [connection.createChannel.bind(connection), connection.createConfirmChannel.bind(connection)]
  connection.createChannel = async () => (await channel()).on('error', () => {})
  connection.createConfirmChannel = async () => (await confirmChannel()).on('error', () => {})
  return connection
}

async function ask(question: Question): Promise<unknown> {
  const response = await fetch(inject('sharedServers'), { method: 'POST', body: JSON.stringify(question) })
  if (!response.ok) throw new Error(await response.text())
  return response.json()
}
