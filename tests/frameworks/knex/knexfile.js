// As `knex init` makes it, with DATABASE_URL as its only configuration.
module.exports = {
  client: "pg",
  connection: process.env.DATABASE_URL,
  migrations: { tableName: "knex_migrations" },
};
