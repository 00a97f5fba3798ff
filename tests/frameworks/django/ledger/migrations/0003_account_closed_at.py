from django.db import migrations, models


class Migration(migrations.Migration):
    """Applied after the other application has altered the same table and made it its own."""

    dependencies = [("ledger", "0002_first_accounts")]
    operations = [
        migrations.AddField("account", "closed_at", models.DateTimeField(null=True, db_index=True)),
    ]
