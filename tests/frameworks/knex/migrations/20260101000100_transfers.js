// A table of its own, with a foreign key into the other application's.
exports.up = (knex) =>
  knex.schema.createTable("transfers", (table) => {
    table.increments("id");
    table.uuid("account_id").references("id").inTable("ledger_account").onDelete("CASCADE");
    table.text("note").notNullable();
    table.timestamps(true, true);
  });

exports.down = (knex) => knex.schema.dropTable("transfers");
