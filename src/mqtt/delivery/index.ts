export { Deliveries, type DeliveriesOptions } from './deliveries.ts'
