// Alters and fills a table that the other application made, which takes ownership of it.
exports.up = async (knex) => {
  await knex.schema.alterTable("ledger_account", (table) => {
    table.string("nickname", 120).nullable();
    table.index(["nickname"], "ledger_account_nickname");
  });
  await knex("ledger_account").update({ nickname: knex.raw("owner || ' (migrated)'") });
  await knex.schema.alterTable("ledger_account", (table) => {
    table.string("owner", 200).notNullable().alter();
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable("ledger_account", (table) => {
    table.dropIndex(["nickname"], "ledger_account_nickname");
    table.dropColumn("nickname");
  });
};
