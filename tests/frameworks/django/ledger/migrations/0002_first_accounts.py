from django.db import migrations


def open_accounts(apps, _schema_editor):
    account = apps.get_model("ledger", "Account")
    entry = apps.get_model("ledger", "Entry")
    for owner, amount in (("alice", "100.00"), ("bob", "250.50")):
        made = account.objects.create(owner=owner, tags=["first"], profile={"plan": "free"})
        entry.objects.create(account=made, amount=amount)


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [migrations.RunPython(open_accounts, migrations.RunPython.noop)]
