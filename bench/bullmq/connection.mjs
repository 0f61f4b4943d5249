// @ts-check
const { hostname: host, port } = new URL(process.env.BENCH_REDIS ?? 'redis://127.0.0.1:6379')

export const connection = { host, port: Number(port) }
export const queueName = 'bench'
