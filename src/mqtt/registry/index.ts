export { type ClaimedConnection, Clients, type ClientsOptions, type ClusterClients } from './clients.ts'
