/** What a worker says over HTTP to those who look after it, probes and scrapers: a few fixed paths, GET and HEAD, one answer for each connection. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ListenAddress } from '../app/config-kinds.js'
import { PortUnavailableError } from '../errors.js'

export interface PortAnswer {
  readonly status: number
  /** The content type, with its charset. */
  readonly type: string
  readonly body: string
}

/** By path, such as `/healthz`. What one throws is answered with 500 and told to nobody else. */
export type PortRoutes = Readonly<Record<string, () => PortAnswer | Promise<PortAnswer>>>

export interface OpenPort {
  /** Without a path: `http://127.0.0.1:9100`. */
  readonly url: string
  /** No connection outlives it. Safe twice. */
  close(): Promise<void>
}

/** Who asks so slowly, or says so much, is no probe. */
const askMs = 5_000
const mostHeaderBytes = 8 * 1024
const mostConnections = 64
const loopbackNames: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Listens; PortUnavailableError where it cannot. The listener does not keep the process alive. */
export async function openPort({ host, port }: ListenAddress, routes: PortRoutes): Promise<OpenPort> {
  const isLocal = loopbackNames.has(bracketed(host))
  const server = createServer(
    { maxHeaderSize: mostHeaderBytes, headersTimeout: askMs, requestTimeout: askMs, connectionsCheckingInterval: 1_000, keepAlive: false },
    (request, response) => void answer(request, response, routes, isLocal),
  )
  server.maxConnections = mostConnections
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(new PortUnavailableError(host, port, cause)))
    server.listen({ host, port, exclusive: true }, resolve)
  })
  // What may still go wrong is that of one connection.
  server.on('error', () => {})
  server.unref()
  const bound = server.address() as AddressInfo // it listens on a port, not on a path
  return {
    url: `http://${bracketed(host)}:${bound.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Opens each address once: the paths of those that are the same stand beside each other. All are open, or none. */
export async function openPorts(wanted: readonly { readonly address: ListenAddress; readonly routes: PortRoutes }[]): Promise<OpenPort[]> {
  const merged = new Map<string, { address: ListenAddress; routes: PortRoutes }>()
  for (const { address, routes } of wanted) {
    const key = `${address.host} ${address.port}`
    merged.set(key, { address, routes: { ...merged.get(key)?.routes, ...routes } })
  }
  const open: OpenPort[] = []
  try {
    for (const { address, routes } of merged.values()) open.push(await openPort(address, routes))
  } catch (error) {
    await Promise.all(open.map((port) => port.close()))
    throw error
  }
  return open
}

/** Never rejects. */
async function answer(request: IncomingMessage, response: ServerResponse, routes: PortRoutes, isLocal: boolean): Promise<void> {
  const { status, type, body } = await found(request, routes, isLocal)
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    connection: 'close',
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

async function found({ method, url = '/', headers }: IncomingMessage, routes: PortRoutes, isLocal: boolean): Promise<PortAnswer> {
  // A page in somebody's browser may have made its own name one of this machine.
  if (isLocal && !loopbackNames.has((headers.host ?? 'localhost').replace(/:\d+$/, ''))) return text(421, 'not under this name')
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET and HEAD')
  const path = url.split('?', 1)[0] ?? '/'
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined
  if (route === undefined) return text(404, `there is ${Object.keys(routes).join(' and ')}`)
  try {
    return await route()
  } catch (error) {
    return text(500, error instanceof Error ? error.message : String(error))
  }
}

const text = (status: number, body: string): PortAnswer => ({ status, type: 'text/plain; charset=utf-8', body: `${body}\n` })

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)
