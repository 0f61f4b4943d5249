import { Celeriac } from 'celeriac'

export const app = new Celeriac('hello', { broker: 'amqp://localhost', backend: 'rpc://' })

export const add = app.task('add', { params: ['x', 'y'] }, (x: number, y: number) => x + y)
