import { Celeriac } from 'celeriac'

export const app = new Celeriac('hello', { broker: 'redis://localhost:6379/0' })

export const add = app.task('add', { params: ['x', 'y'] }, (x: number, y: number) => x + y)
