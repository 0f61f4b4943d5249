/**
 * Servers that all test files of a run share, started by the first that asks and stopped after the last: a RabbitMQ node takes seconds to start.
 * Vitest runs this in its main process; test files ask over HTTP (test/rabbit.ts).
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { TestProject } from 'vitest/node'
import { startRabbit } from '../scripts/services.mjs'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where test files ask. */
    readonly sharedServers: string
  }
}

export type Question = { readonly ask: 'vhost' } | { readonly ask: 'ctl'; readonly args: readonly string[] }

/** One for each test file that asks. */
const vhosts = 48

export default async function share(project: TestProject): Promise<() => Promise<void>> {
  let rabbit: ReturnType<typeof startRabbit> | undefined
  let given = 0

  const answer = async (question: Question): Promise<unknown> => {
    rabbit ??= startRabbit({ vhosts })
    const node = await rabbit
    if (question.ask === 'ctl') return node.ctl(...question.args)
    if (given === vhosts) throw new Error(`test/shared-servers.ts makes ${vhosts} virtual hosts, and all are taken`)
    const number = given++
    return { url: node.vhostUrl(number), name: `v${number}` }
  }

  const server = createServer(async (request, response) => {
    try {
      response.end(JSON.stringify(await answer((await json(request)) as Question))) // only test/rabbit.ts asks
    } catch (error) {
      response.statusCode = 500
      response.end(String(error instanceof Error ? error.message : error))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is no text.
  project.provide('sharedServers', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return async () => {
    server.close()
    server.closeAllConnections()
    await (await rabbit?.catch(() => undefined))?.stop()
  }
}
